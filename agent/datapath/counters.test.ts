import { expect, test } from 'vitest';
import { REASONS, verdictOf } from '../../test/model/reasons.ts';
import { lossNames, reasonNames } from './counters.ts';
import { loss, reason } from './layout.ts';

test('every reason has its verdict and a name of its own under it', () => {
  expect(reasonNames.length).toBe(reason.REASON_COUNT);
  expect(new Set(reasonNames.map(({ verdict, reason: name }) => `${verdict} ${name}`)).size).toBe(reason.REASON_COUNT);
  for (const [index, name] of REASONS.entries())
    expect(reasonNames[index]!.verdict === 'drop', name).toBe(verdictOf(name) === 'drop');
  expect(reasonNames[reason.DROP_SCAN_DETECTED]).toEqual({ verdict: 'drop', reason: 'scan-detected' });
  expect(reasonNames[reason.WOULD_DROP_LIST]).toEqual({ verdict: 'would-drop', reason: 'list' });
  expect(reasonNames[reason.SPARED_SCAN_DETECTED]).toEqual({ verdict: 'spared', reason: 'scan-detected' });
  expect(reasonNames[reason.PASS_NOT_OWN_ADDRESS]).toEqual({ verdict: 'pass', reason: 'not-own-address' });
});

test('every loss has a name, at its number', () => {
  expect(lossNames.length).toBe(loss.LOSS_COUNT);
  expect(lossNames[loss.LOSS_RING_FULL]).toBe('ring-full');
  expect(lossNames[loss.LOSS_BLOCK_EVICTED]).toBe('block-evicted');
});
