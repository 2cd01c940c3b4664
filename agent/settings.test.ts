import { describe, expect, test } from 'vitest';
import { PortcullisError } from '../api/errors.ts';
import { environmentName, type Setting } from '../cli/settings.ts';
import { type Command, parseCommandLine } from './settings.ts';
import { type RunSettings, settingTable, trackingDomains } from './settings-table.ts';

function run(args: string[], env: Record<string, string> = {}): RunSettings {
  const command = parseCommandLine(['run', ...args], env);
  if (command.name !== 'run') throw new Error(`read as ${command.name}`);
  return command.settings;
}

function refusal(argv: string[], env: Record<string, string> = {}): PortcullisError {
  let command: Command;
  try {
    command = parseCommandLine(argv, env);
  } catch (error) {
    if (error instanceof PortcullisError) return error;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(command)}`);
}

describe('run', () => {
  test('has a default for everything but the directory of policies', () => {
    expect(run(['--policies', '/etc/portcullis'])).toEqual({
      policies: '/etc/portcullis',
      kubernetes: false,
      nodeName: undefined,
      kubeconfig: undefined,
      reportIntervalMs: 30_000,
      readJitterMs: 500,
      breakGlassFile: '/run/portcullis/break-glass',
      state: undefined,
      pinPath: '/sys/fs/bpf/portcullis',
      statusFile: undefined,
      metricsAddress: { host: '127.0.0.1', port: 9469 },
      metricsTlsFolder: undefined,
      metricsAuthorization: 'None',
      xdpMode: 'auto',
      nodeLabels: {},
      neverBlock: [],
      logLevel: 'info',
      maxExtensionHeaders: 8,
      maxFirstTargets: 786_432,
      maxBlocks: 65_536,
      maxManualBlocks: 4096,
      maxNeverBlock: 4096,
      maxOwnAddresses: 4096,
      maxListEntries: 262_144,
      maxAllowEntries: 65_536,
      maxOwners: 256,
      concernCells: 1_048_576,
      ringBufferBytes: 1_048_576,
      connectionEventsPerSecond: 50_000,
      blockEventsPerSecond: 5000,
      maxPolicyFiles: 1000,
      maxFileBytes: 4_194_304,
    });
  });

  test('refuses to run without a source of policies', () => {
    expect(refusal(['run'])).toMatchObject({
      code: 'BadSetting',
      field: '--policies',
      remedy: 'Give --policies DIR, or set PORTCULLIS_POLICIES, or --kubernetes to take them from an API server.',
    });
  });

  test.each([
    ['as a flag alone', ['--kubernetes', '--node-name', 'n1'], {}],
    ['as a flag with its value', ['--node-name=n1', '--kubernetes=true'], {}],
    ['by the environment', [], { PORTCULLIS_KUBERNETES: 'true', PORTCULLIS_NODE_NAME: 'n1' }],
    ['as a flag against the environment', ['--kubernetes', '--node-name=n1'], { PORTCULLIS_KUBERNETES: 'false' }],
  ])('takes policies from an API server when told so %s', (_, args, env) => {
    expect(run(args, env)).toMatchObject({ kubernetes: true, nodeName: 'n1', policies: undefined });
  });

  test.each([
    ['a directory beside it', ['--kubernetes', '--node-name=n', '--policies=/p'], '--policies'],
    ['no name of the node', ['--kubernetes'], '--node-name'],
    ['a name that no Node can have', ['--kubernetes', '--node-name=Node_1'], '--node-name'],
    ['labels, which the Node has', ['--kubernetes', '--node-name=n', '--node-labels=a=b'], '--node-labels'],
    ['a value that is neither true nor false', ['--kubernetes=maybe', '--node-name=n'], '--kubernetes'],
    ['a name of a node without it', ['--policies=/p', '--node-name=n'], '--node-name'],
    ['a kubeconfig without it', ['--policies=/p', '--kubeconfig=/k'], '--kubeconfig'],
  ])('refuses with --kubernetes %s', (_, args, field) => {
    expect(refusal(['run', ...args])).toMatchObject({ code: 'BadSetting', field });
  });

  test.each([
    [['--kubernetes', '--node-name=n'], /TLS|tls\.crt/],
    [['--policies=/p', '--metrics-tls-folder=/t'], /firewall/],
  ])('refuses to ask an API server for whom to serve without TLS, and without an API server: %s', (args, remedy) => {
    const refused = refusal(['run', ...args, '--metrics-authorization=TokenReview']);
    expect(refused).toMatchObject({ code: 'BadSetting', field: '--metrics-authorization' });
    expect(refused.remedy).toMatch(remedy);
  });

  test('takes each setting as a flag or as a variable, and the flag wins', () => {
    const given: Record<keyof RunSettings, [string, unknown, string]> = {
      policies: ['/a', '/a', '/b'],
      kubernetes: ['true', true, 'false'],
      nodeName: ['a.b', 'a.b', 'c'],
      kubeconfig: ['/a', '/a', '/b'],
      reportIntervalMs: ['1m30s', 90_000, '1s'],
      readJitterMs: ['0s', 0, '1s'],
      breakGlassFile: ['/a', '/a', '/b'],
      state: ['/a', '/a', '/b'],
      pinPath: ['/a', '/a', '/b'],
      statusFile: ['/a', '/a', '/b'],
      metricsAddress: ['[::1]:0', { host: '::1', port: 0 }, 'off'],
      metricsTlsFolder: ['/a', '/a', '/b'],
      metricsAuthorization: ['TokenReview', 'TokenReview', 'None'],
      xdpMode: ['generic', 'generic', 'native'],
      nodeLabels: ['a=1,example.com/b=', { a: '1', 'example.com/b': '' }, 'c=2'],
      neverBlock: ['192.0.2.7,2001:DB8::/32', ['192.0.2.7/32', '2001:db8::/32'], '10.0.0.0/8'],
      logLevel: ['trace', 'trace', 'warn'],
      maxExtensionHeaders: ['32', 32, '1'],
      maxFirstTargets: ['3072', 3072, '5000'],
      maxBlocks: ['64', 64, '65'],
      maxManualBlocks: ['16', 16, '17'],
      maxNeverBlock: ['64', 64, '65'],
      maxOwnAddresses: ['16', 16, '17'],
      maxListEntries: ['64', 64, '65'],
      maxAllowEntries: ['16', 16, '17'],
      maxOwners: ['2048', 2048, '17'],
      concernCells: ['65536', 65_536, '131072'],
      ringBufferBytes: ['65536', 65_536, '131072'],
      connectionEventsPerSecond: ['0', 0, '1'],
      blockEventsPerSecond: ['1', 1, '2'],
      maxPolicyFiles: ['1', 1, '2'],
      maxFileBytes: ['1024', 1024, '2048'],
    };
    for (const [name, [text, value, other]] of Object.entries(given) as [
      keyof RunSettings,
      [string, unknown, string],
    ][]) {
      const { flag } = settingTable[name];
      const isOfCluster = ['kubernetes', 'nodeName', 'kubeconfig', 'metricsAuthorization'].includes(name);
      const cluster = [
        ...(name === 'kubernetes' ? [] : ['--kubernetes']),
        ...(name === 'nodeName' ? [] : ['--node-name=n']),
        ...(name === 'metricsAuthorization' ? ['--metrics-tls-folder=/t'] : []),
      ];
      const policies = isOfCluster ? cluster : name === 'policies' ? [] : ['--policies', '/p'];
      const variable = environmentName(flag);
      expect(run([...policies, ...(name === 'kubernetes' ? [`--${flag}`] : [`--${flag}`, text])])[name], flag).toEqual(
        value,
      );
      expect(run(policies, { [variable]: text })[name], variable).toEqual(value);
      expect(run([...policies, `--${flag}=${text}`], { [variable]: other })[name], `${flag} over ${variable}`).toEqual(
        value,
      );
    }
  });

  test('an empty variable counts as absent', () => {
    expect(run(['--policies', '/p'], { PORTCULLIS_MAX_BLOCKS: '', PORTCULLIS_STATE: '' })).toMatchObject({
      maxBlocks: 65_536,
      state: undefined,
    });
  });

  test('variables that another program made are no concern of ours', () => {
    expect(run(['--policies', '/p'], { PORTCULLIS_OPERATOR_SERVICE_PORT: '443', HOME: '/root' }).maxBlocks).toBe(
      65_536,
    );
  });

  test('lists add up over repeated flags, anything else is said last', () => {
    const settings = run([
      '--policies',
      '/p',
      '--never-block',
      '192.0.2.1',
      '--never-block=10.0.0.0/8,::1',
      '--max-blocks=70',
      '--max-blocks=80',
    ]);
    expect(settings.neverBlock).toEqual(['192.0.2.1/32', '10.0.0.0/8', '::1/128']);
    expect(settings.maxBlocks).toBe(80);
  });

  test('an empty list takes back the variable', () => {
    expect(run(['--policies', '/p', '--never-block='], { PORTCULLIS_NEVER_BLOCK: '192.0.2.1' }).neverBlock).toEqual([]);
  });

  test.each([
    ['--max-blocks', '63', 'Give a whole number from 64 to 1,048,576.'],
    ['--max-blocks', '1048577', 'Give a whole number from 64 to 1,048,576.'],
    ['--max-blocks', '65,536', 'Write --max-blocks=65536.'],
    ['--max-blocks', '1e5', 'Give a whole number from 64 to 1,048,576.'],
    ['--max-blocks', '0100', 'Write --max-blocks=100.'],
    ['--max-blocks', '', 'Give a whole number from 64 to 1,048,576.'],
    ['--max-blocks', '99999999999999999999', 'Give a whole number from 64 to 1,048,576.'],
    ['--max-first-targets', '3071', 'Give a whole number from 3,072 to 12,582,912.'],
    ['--concern-cells', '1000000', 'Write --concern-cells=1048576.'],
    ['--ring-buffer-bytes', '4096', 'Give a power of two from 65,536 to 268,435,456.'],
    ['--xdp-mode', 'Native', 'Write --xdp-mode=native.'],
    ['--log-level', 'verbose', 'Give one of fatal, error, warn, info, debug, trace.'],
    ['--pin-path', 'sys/fs/bpf/x', 'Write --pin-path=/sys/fs/bpf/x.'],
    ['--policies', 'a\0b', 'Give a path of at most 4,096 characters.'],
    ['--metrics-address', '9469', 'Write --metrics-address=127.0.0.1:9469.'],
    ['--metrics-address', '127.0.0.1:65536', undefined],
    ['--metrics-address', '127.0.0.1', undefined],
    ['--metrics-address', '::1:9469', undefined],
    ['--metrics-address', '[127.0.0.1]:9469', undefined],
    ['--metrics-address', '127.0.0.01:9469', undefined],
    ['--node-labels', 'zone', undefined],
    ['--node-labels', 'a=1,a=2', undefined],
    ['--node-labels', '__proto__=x', undefined],
    ['--node-labels', 'a=1,', undefined],
    ['--never-block', '192.0.2.7/24', 'Write --never-block=192.0.2.0/24.'],
    ['--never-block', '192.0.2.7, 192.0.2.8', 'Write --never-block=192.0.2.7/32,192.0.2.8/32.'],
    ['--never-block', 'gateway', undefined],
    ['--never-block', '192.0.2.1,,192.0.2.2', undefined],
  ])('refuses %s %j, naming flag, value and what to write', (flag, value, remedy) => {
    const error = refusal(['run', '--policies', '/p', `${flag}=${value}`]);
    expect(error).toMatchObject({ code: 'BadSetting', field: flag, value });
    expect(error.message).toContain(`${flag} ${JSON.stringify(value)} must be `);
    if (remedy !== undefined) expect(error.remedy).toBe(remedy);
  });

  test('names the variable when that is at fault', () => {
    expect(refusal(['run', '--policies', '/p'], { PORTCULLIS_MAX_OWNERS: 'many' })).toMatchObject({
      code: 'BadSetting',
      field: 'PORTCULLIS_MAX_OWNERS',
      message: 'PORTCULLIS_MAX_OWNERS "many" must be a whole number from 16 to 2,048',
    });
  });

  test('a flag whose value was forgotten does not swallow the next flag', () => {
    expect(refusal(['run', '--policies', '--state', '/s'])).toMatchObject({ code: 'BadSetting', field: '--policies' });
    expect(refusal(['run', '--policies'])).toMatchObject({ code: 'BadSetting', field: '--policies' });
    expect(run(['--policies=--odd']).policies).toBe('--odd');
  });

  test.each([
    ['--polices', '--policies'],
    ['--max-block', '--max-blocks'],
    ['--metrics', '--metrics-address'],
    ['--no-policies', '--policies'],
  ])('does not know %s and asks for %s', (flag, meant) => {
    const error = refusal(['run', flag, 'x']);
    expect(error).toMatchObject({ code: 'UnknownSetting', field: flag });
    expect(error.remedy).toContain(`Did you mean ${meant}?`);
  });

  test('refuses an argument that is no flag', () => {
    expect(refusal(['run', '--policies', '/p', 'x'])).toMatchObject({ code: 'BadSetting', value: 'x' });
  });
});

test('tracking domains are the power of two that holds the wanted sources', () => {
  expect(trackingDomains(3072)).toBe(128);
  expect(trackingDomains(3073)).toBe(256);
  expect(trackingDomains(786_432)).toBe(32_768);
  expect(trackingDomains(12_582_912)).toBe(524_288);
});

describe('the other commands', () => {
  const pinPath = '/sys/fs/bpf/portcullis';

  test.each<[string[], Command]>([
    [['check', 'policies'], { name: 'check', directory: 'policies', output: 'text' }],
    [['check', '-o', 'json', 'policies'], { name: 'check', directory: 'policies', output: 'json' }],
    [['status'], { name: 'status', pinPath, output: 'text' }],
    [['status', '--output=json', '--pin-path', '/p'], { name: 'status', pinPath: '/p', output: 'json' }],
    [['blocked'], { name: 'blocked', pinPath, output: 'table' }],
    [['blocked', '-o', 'wide'], { name: 'blocked', pinPath, output: 'wide' }],
    [
      ['block', '2001:DB8:0::7', '--for', '1h30m', '--reason', 'it was them'],
      { name: 'block', pinPath, source: '2001:db8::7', durationMs: 5_400_000, reason: 'it was them' },
    ],
    [
      ['block', '--for=720h', '--reason=ü', '198.51.100.128/25'],
      { name: 'block', pinPath, source: '198.51.100.128/25', durationMs: 2_592_000_000, reason: 'ü' },
    ],
    [['unblock', '192.0.2.200', '--state', '/s'], { name: 'unblock', pinPath, source: '192.0.2.200', stateDir: '/s' }],
    [['unblock', '192.0.2.200/32'], { name: 'unblock', pinPath, source: '192.0.2.200', stateDir: undefined }],
    [['detach', '--pin-path=/p'], { name: 'detach', pinPath: '/p' }],
    [['--version'], { name: 'version' }],
  ])('%j', (argv, command) => {
    expect(parseCommandLine(argv, {})).toEqual(command);
  });

  test('take the pin path and the state directory from the environment too', () => {
    const env = { PORTCULLIS_PIN_PATH: '/p', PORTCULLIS_STATE: '/s' };
    expect(parseCommandLine(['unblock', '192.0.2.7'], env)).toMatchObject({ pinPath: '/p', stateDir: '/s' });
  });

  test.each([
    [['block', '192.0.2.7', '--reason', 'x'], 'BadSetting', '--for'],
    [['block', '192.0.2.7', '--for', '1h'], 'BadSetting', '--reason'],
    [['block', '192.0.2.7', '--for', '0s', '--reason', 'x'], 'BadSetting', '--for'],
    [['block', '192.0.2.7', '--for', '721h', '--reason', 'x'], 'BadSetting', '--for'],
    [['block', '192.0.2.7', '--for', 'forever', '--reason', 'x'], 'BadSetting', '--for'],
    [['block', '192.0.2.7', '--for', '1h', '--reason', ''], 'BadSetting', '--reason'],
    [['block', '192.0.2.7', '--for', '1h', '--reason', 'ü'.repeat(32)], 'BadSetting', '--reason'],
    [['block', '192.0.2.7', '--for', '1h', '--reason', 'a\x1b[2Jb'], 'BadSetting', '--reason'],
    [['block', '0.0.0.0/0', '--for', '1h', '--reason', 'x'], 'TooWide', 'SOURCE'],
    [['block', '2001::/15', '--for', '1h', '--reason', 'x'], 'NotAnAddress', 'SOURCE'],
    [['block', '2002::/15', '--for', '1h', '--reason', 'x'], 'TooWide', 'SOURCE'],
    [['block', '--for', '1h', '--reason', 'x'], 'BadSetting', 'SOURCE'],
    [['unblock'], 'BadSetting', 'SOURCE'],
    [['unblock', 'example.com'], 'NotAnAddress', 'SOURCE'],
    [['unblock', '::ffff:192.0.2.7'], 'NotAnAddress', 'SOURCE'],
    [['unblock', '192.0.2.007'], 'NotAnAddress', 'SOURCE'],
    [['check'], 'BadSetting', 'DIR'],
    [['check', 'a', '-o', 'wide'], 'BadSetting', '--output'],
    [['blocked', '-o', 'text'], 'BadSetting', '--output'],
    [['blocked', '--policies', 'x'], 'UnknownSetting', '--policies'],
    [['check', 'a', '--pin-path', '/p'], 'UnknownSetting', '--pin-path'],
  ])('%j is refused with %s, naming %s', (argv, code, field) => {
    expect(refusal(argv)).toMatchObject({ code, field });
  });

  test('an unknown command is answered with the nearest one', () => {
    expect(refusal(['blokced'])).toMatchObject({ code: 'UnknownSetting', remedy: 'Did you mean blocked?' });
    expect(refusal(['--policies', '/p']).remedy).toContain('run --policies');
  });
});

describe('help', () => {
  test('without a command is shown and is a mistake, when asked for it is none', () => {
    expect(parseCommandLine([], {})).toMatchObject({ name: 'help', exitCode: 2 });
    expect(parseCommandLine(['--help'], {})).toMatchObject({ name: 'help', exitCode: 0 });
    expect(parseCommandLine(['help', 'block'], {})).toEqual(parseCommandLine(['block', '-h'], {}));
  });

  test('wins over what is missing, so that it can be asked for at any point', () => {
    expect(parseCommandLine(['block', '--help'], {})).toMatchObject({ name: 'help', exitCode: 0 });
  });

  test('of run shows every flag with its variable, default and bounds, on lines of at most 120 columns', () => {
    const command = parseCommandLine(['run', '--help'], {});
    const text = command.name === 'help' ? command.text : '';
    for (const { flag, default: standard } of Object.values<Setting<unknown>>(settingTable)) {
      expect(text).toContain(`  --${flag} `);
      expect(text).toContain(environmentName(flag));
      if (standard) expect(text).toContain(`Default ${standard}.`);
    }
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
  });

  test.each(['check', 'status', 'blocked', 'block', 'unblock', 'detach'])('of %s shows its usage', (name) => {
    const command = parseCommandLine([name, '--help'], {});
    expect(command.name === 'help' && command.text.startsWith(`Usage: portcullis-agent ${name}`)).toBe(true);
  });
});
