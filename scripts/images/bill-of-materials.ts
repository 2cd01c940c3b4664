// What an image holds, as CycloneDX 1.6: Node.js, npm packages that are in the bundle, Debian's packages. Pure.

export type Fields = Readonly<Record<string, string>>;

export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** Absent in some. */
  readonly license?: string | undefined;
}

export interface Contents {
  readonly program: string;
  readonly version: string;
  /** Of /etc/os-release. */
  readonly release: Fields;
  readonly nodeVersion: string;
  /** Control stanzas. */
  readonly debian: readonly Fields[];
  readonly npm: readonly NpmPackage[];
}

/** Fields of a Debian control stanza. Continuation lines are left out. */
export function stanza(text: string): Fields {
  return Object.fromEntries([...text.matchAll(/^([A-Za-z][\w-]*): *(.*)$/gm)].map(([, key, value]) => [key, value]));
}

/** Variables of a file such as /etc/os-release. */
export function variables(text: string): Fields {
  return Object.fromEntries([...text.matchAll(/^(\w+)="?(.*?)"?$/gm)].map(([, key, value]) => [key, value]));
}

export function cycloneDx({ program, version, release, nodeVersion, debian, npm }: Contents): object {
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
    metadata: {
      component: { type: 'application', 'bom-ref': program, name: program, version, licenses: licenses('Apache-2.0') },
    },
    components,
    dependencies: [{ ref: program, dependsOn: components.map((each) => each['bom-ref']) }],
  };
}

interface Part extends NpmPackage {
  readonly purl: string;
  readonly cpe?: string;
}

function debianComponent(fields: Fields, release: Fields): Part {
  const { Package: name = '', Version: version = '', Architecture: arch, Source: source } = fields;
  const qualifiers = [`arch=${arch}`, `distro=${release.ID}-${release.VERSION_ID}`];
  // Advisories go by source packages.
  if (source !== undefined) qualifiers.push(`upstream=${encodeURIComponent(source.split(' ')[0]!)}`);
  // `+` and `:` stand in versions and mean something else in a URL.
  const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?${qualifiers.join('&')}`;
  return { purl, name, version };
}

function component({ purl, name, version, license, cpe }: Part) {
  return {
    type: 'library',
    'bom-ref': purl,
    name,
    version,
    purl,
    ...(cpe === undefined ? {} : { cpe }),
    ...(license !== undefined ? { licenses: licenses(license) } : {}),
  };
}

function licenses(text: string): readonly object[] {
  // An expression has operators; anything else is the id of one license.
  return / (AND|OR|WITH) /.test(text)
    ? [{ expression: text.replace(/^\((.*)\)$/, '$1') }]
    : [{ license: { id: text } }];
}
