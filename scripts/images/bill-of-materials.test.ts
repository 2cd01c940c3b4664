import { describe, expect, test } from 'vitest';
import { cycloneDx, stanza, variables } from './bill-of-materials.ts';

const control = `Package: libstdc++6
Source: gcc-14
Version: 14.2.0-19
Architecture: amd64
Depends: libc6 (>= 2.38)
Description: GNU Standard C++ Library v3
 Contains an additional runtime library.
`;

describe('what an image lists', () => {
  test('is read out of control files and os-release', () => {
    expect(stanza(control)).toMatchObject({ Package: 'libstdc++6', Source: 'gcc-14', Version: '14.2.0-19' });
    expect(variables('PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\n')).toEqual({
      PRETTY_NAME: 'Debian GNU/Linux 13 (trixie)',
      ID: 'debian',
      VERSION_ID: '13',
    });
  });

  test('names each part by a package URL that scanners look up', () => {
    const bill = cycloneDx({
      program: 'portcullis-agent',
      version: '1.2.3',
      release: { ID: 'debian', VERSION_ID: '13', PRETTY_NAME: 'Debian GNU/Linux 13 (trixie)' },
      nodeVersion: '24.0.0',
      debian: [stanza(control)],
      npm: [{ name: '@kubernetes/client-node', version: '2.0.1', license: 'Apache-2.0' }],
    });
    expect(bill).toMatchObject({ bomFormat: 'CycloneDX', metadata: { component: { name: 'portcullis-agent' } } });
    const { components } = bill as { components: readonly { purl?: string }[] };
    expect(components.flatMap(({ purl }) => purl ?? [])).toEqual([
      'pkg:generic/node@24.0.0',
      'pkg:npm/%40kubernetes/client-node@2.0.1',
      'pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=debian-13&upstream=gcc-14',
    ]);
  });
});
