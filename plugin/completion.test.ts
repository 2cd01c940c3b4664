import { describe, expect, test } from 'vitest';
import { run } from '../test/support/command.ts';
import { shells } from './command-line.ts';
import { completionLines, completionScript, offerFor } from './completion.ts';

const offer = (line: string) => offerFor(line.split(' '));

describe('what is offered', () => {
  test('commands first', () => expect(offer('').words).toContain('explain'));
  test('flags that are not there yet', () => {
    expect(offer('blocked --node n1 --').words).toEqual(expect.arrayContaining(['--policy', '--output', '--help']));
    expect(offer('blocked --node n1 --').words).not.toContain('--node');
    expect(offer('unblock 192.0.2.7 --policy a --').words).toContain('--policy');
  });
  test('values of a flag, also written in one word', () => {
    expect(offer('blocked -o ').words).toEqual(['table', 'wide', 'json', 'yaml']);
    expect(offer('blocked --output=w').words).toContain('--output=wide');
  });
  test('names out of the cluster', () => {
    expect(offer('blocked --policy ')).toMatchObject({ names: 'policies' });
    expect(offer('blocked --node w')).toMatchObject({ names: 'nodes' });
  });
  test('files where files are read', () => {
    expect(offer('check ').files).toBe(true);
    expect(offer('status --kubeconfig ').files).toBe(true);
    expect(offer('status ').files).toBeUndefined();
  });
  test('shells', () => expect(offer('completion ').words).toEqual(shells));
  test('nothing behind what is no command', () => expect(offer('nonsense ')).toEqual({ words: [] }));
});

test('lines are as kubectl reads them', () => {
  expect(completionLines(['status', 'blocked'], 'b', false)).toBe('blocked\n:4\n');
  expect(completionLines([], '', true)).toBe(':0\n');
});

test('bash takes the script, and completes with it', async () => {
  const program = `kubectl-portcullis() { [[ "$*" == '__complete blocked --no' ]] && printf '%s\\n' --node :4; }
${completionScript('bash')}
COMP_WORDS=(kubectl-portcullis blocked --no); COMP_CWORD=2
_kubectl_portcullis
echo "\${COMPREPLY[@]}"`;
  expect((await run(['bash', '-c', program])).stdout).toBe('--node\n');
});
