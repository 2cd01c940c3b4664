import { describe, expect, it } from 'vitest';
import { PortcullisError } from '../api/errors.ts';
import { environmentName } from '../cli/settings.ts';
import { parseCommandLine } from './settings.ts';
import { operatorSettingTable } from './settings-table.ts';

const settings = (args: readonly string[] = [], env = {}) => {
  const command = parseCommandLine(['run', ...args], env);
  if (command.name !== 'run') throw new Error(command.name);
  return command.settings;
};

function refusal(args: readonly string[], env = {}): PortcullisError {
  try {
    parseCommandLine(args, env);
  } catch (error) {
    if (error instanceof PortcullisError) return error;
    throw error;
  }
  throw new Error('taken');
}

describe('settings', () => {
  it('have defaults that need no flag', () => {
    expect(settings()).toMatchObject({
      namespace: 'portcullis-system',
      reportStaleAfterMs: 720_000,
      statusIntervalMs: 10_000,
      countersIntervalMs: 300_000,
      leaseDurationMs: 15_000,
      metricsAddress: { host: '127.0.0.1', port: 9470 },
      neverBlock: [],
      kubeconfig: undefined,
    });
  });

  it('are read from flags, and from the environment where there is no flag', () => {
    const env = { PORTCULLIS_NAMESPACE: 'guard', PORTCULLIS_WORKERS: '8', PORTCULLIS_LEASE_NAME: '' };
    expect(settings(['--workers', '2', '--report-stale-after=90s'], env)).toMatchObject({
      namespace: 'guard',
      workers: 2,
      reportStaleAfterMs: 90_000,
      leaseName: 'portcullis-operator',
    });
  });

  it('join what is repeated where they take a list', () => {
    expect(settings(['--never-block', '192.0.2.0/24', '--never-block', '2001:db8::1']).neverBlock).toEqual([
      '192.0.2.0/24',
      '2001:db8::1/128',
    ]);
  });

  it('let tokens cross no network in clear text', () => {
    const tokens = ['--metrics-authorization=TokenReview'];
    expect(refusal(['run', ...tokens])).toMatchObject({ code: 'BadSetting', field: '--metrics-authorization' });
    expect(refusal(['run', ...tokens]).remedy).toContain('--metrics-tls-folder');
    expect(settings([...tokens, '--metrics-tls-folder=/t']).metricsAuthorization).toBe('TokenReview');
  });

  it('take what --help says is their default', () => {
    for (const { flag, default: value } of Object.values(operatorSettingTable)) {
      if (value === undefined || value === '') continue;
      expect(() => settings([`--${flag}=${value}`])).not.toThrow();
      expect(() => settings([], { [environmentName(flag)]: value })).not.toThrow();
    }
  });
});

describe('a command line that is refused', () => {
  it.each([
    [['run', '--name-space', 'x'], '--namespace'],
    [['run', '--metrics', 'off'], '--metrics-address'],
    [['run', '--report-stale-after', '12'], '--report-stale-after=12s'],
    [['run', '--namespace', 'Guard'], '--namespace=guard'],
    [['run', '--never-block', '192.0.2.1/24'], '--never-block=192.0.2.0/24'],
    [['run', '--workers'], '--workers=VALUE'],
    [['run', '--namespace', '--workers', '2'], '--namespace=VALUE'],
    [['run', 'fast'], '--help'],
    [['start'], 'The commands are run, apply-crds, detach-all.'],
    [['rn'], 'Did you mean run?'],
    [['--workers', '2'], 'portcullis-operator run --workers'],
    [['run', '--lease-renew-deadline', '15s'], 'shorter deadline'],
    [['run', '--lease-retry-period', '10s'], 'shorter period'],
  ])('%j is told what to write', (args, remedy) => {
    expect(refusal(args).remedy).toContain(remedy);
  });

  it('names the variable that is at fault', () => {
    expect(refusal(['run'], { PORTCULLIS_WORKERS: 'many' }).message).toContain('PORTCULLIS_WORKERS "many"');
  });
});

describe('help', () => {
  it('lists every flag with its variable and default', () => {
    const command = parseCommandLine(['run', '--help'], {});
    const text = command.name === 'help' ? command.text : '';
    for (const { flag } of Object.values(operatorSettingTable)) {
      expect(text).toContain(`--${flag} `);
      expect(text).toContain(environmentName(flag));
    }
  });

  it('is shown where no command is given, which is an error', () => {
    expect(parseCommandLine([], {})).toMatchObject({ name: 'help', exitCode: 2 });
    expect(parseCommandLine(['--help'], {})).toMatchObject({ name: 'help', exitCode: 0 });
    expect(parseCommandLine(['help', 'run'], {})).toMatchObject({ name: 'help', exitCode: 0 });
  });
});

describe('detach-all', () => {
  it('needs no flag, and takes its own alone', () => {
    expect(parseCommandLine(['detach-all'], {})).toEqual({
      name: 'detach-all',
      settings: {
        kubeconfig: undefined,
        namespace: 'portcullis-system',
        timeoutMs: 120_000,
        reportStaleAfterMs: 720_000,
      },
    });
    const flags = ['--namespace=guard', '--timeout=90s', '--kubeconfig=/k', '--report-stale-after=1m'];
    expect(parseCommandLine(['detach-all', ...flags], {})).toMatchObject({
      settings: { kubeconfig: '/k', namespace: 'guard', timeoutMs: 90_000, reportStaleAfterMs: 60_000 },
    });
    expect(() => parseCommandLine(['detach-all', '--workers=2'], {})).toThrow('--workers');
  });

  it('says what it does', () => {
    const command = parseCommandLine(['detach-all', '--help'], {});
    expect(command.name === 'help' && command.text).toMatch(
      /--timeout .*kubectl delete clusterfacts detach|kubectl delete/s,
    );
  });
});
