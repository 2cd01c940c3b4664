// What an image holds, as CycloneDX 1.6: Node.js, npm packages that are in the bundle, Debian's packages. Pure.

/** Fields of a Debian control stanza. Continuation lines are left out. */
export function stanza(text) {
  return Object.fromEntries([...text.matchAll(/^([A-Za-z][\w-]*): *(.*)$/gm)].map(([, key, value]) => [key, value]));
}

/**
 * @param release fields of /etc/os-release, by name
 * @param debian stanzas of the packages
 * @param npm `name`, `version` and `license` of the packages
 */
export function cycloneDx({ program, version, release, nodeVersion, debian, npm }) {
  const components = [
    {
      type: 'operating-system',
      'bom-ref': `os:${release.ID}@${release.VERSION_ID}`,
      name: release.ID,
      version: release.VERSION_ID,
      description: release.PRETTY_NAME,
    },
    component({
      purl: `pkg:generic/node@${nodeVersion}`,
      name: 'node',
      version: nodeVersion,
      license: 'MIT',
      cpe: `cpe:2.3:a:nodejs:node.js:${nodeVersion}:*:*:*:lts:*:*:*`,
    }),
    ...npm.map(({ name, version, license }) =>
      component({ purl: `pkg:npm/${name.replace(/^@/, '%40')}@${version}`, name, version, license }),
    ),
    ...debian.map((fields) => component(debianComponent(fields, release))),
  ];
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: { type: 'application', 'bom-ref': program, name: program, version, licenses: licenses('Apache-2.0') } },
    components,
    dependencies: [{ ref: program, dependsOn: components.map((each) => each['bom-ref']) }],
  };
}

function debianComponent({ Package: name, Version: version, Architecture: arch, Source: source }, release) {
  const qualifiers = [`arch=${arch}`, `distro=${release.ID}-${release.VERSION_ID}`];
  // Advisories go by source packages.
  if (source !== undefined) qualifiers.push(`upstream=${encodeURIComponent(source.split(' ')[0])}`);
  // `+` and `:` stand in versions and mean something else in a URL.
  return { purl: `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?${qualifiers.join('&')}`, name, version };
}

function component({ purl, name, version, license, cpe }) {
  return {
    type: 'library',
    'bom-ref': purl,
    name,
    version,
    purl,
    ...(cpe === undefined ? {} : { cpe }),
    ...(typeof license === 'string' ? { licenses: licenses(license) } : {}),
  };
}

function licenses(text) {
  // An expression has operators; anything else is the id of one license.
  return / (AND|OR|WITH) /.test(text) ? [{ expression: text.replace(/^\((.*)\)$/, '$1') }] : [{ license: { id: text } }];
}
