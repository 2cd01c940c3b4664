import { isDeepStrictEqual } from 'node:util';
import type { BlockReport, BlocksReport, NodeReportStatus } from '../../api/types/node-report.ts';
import type { NodeReportObject } from './node-report.ts';

/** The node's clock is read anew for each report: what differs by less did not change. */
const slackMs = 5000;

/** Whether two reports say the same, whenever they were made. */
export function sameReport(a: NodeReportObject, b: NodeReportObject): boolean {
  return isDeepStrictEqual(timeless(a), timeless(b));
}

function timeless({ metadata, status }: NodeReportObject) {
  const { observedAt: _observedAt, blocks, ...rest } = status;
  const newest = blocks.newest.map(({ secondsLeft: _secondsLeft, ...block }) => block);
  return { metadata, ...rest, blocks: { ...blocks, newest } };
}

/**
 * Whether `next` tells something that a reader of `told` should not wait for: another state, generation, interface, finding
 * or exception; a source that was not blocked, or is blocked for longer; a block that was lifted before its time. Counts,
 * fills and what went as foretold can wait.
 */
export function isNews(told: NodeReportObject, next: NodeReportObject): boolean {
  return !isDeepStrictEqual(essence(told), essence(next)) || isBlockNews(told.status, next.status);
}

/** Whether the two differ in what people order, and no packet can bring about. */
export function isOrdered(told: NodeReportObject, next: NodeReportObject): boolean {
  return !isDeepStrictEqual(ordered(told), ordered(next));
}

function ordered({ status }: NodeReportObject) {
  const { breakGlass, policies, lists, exceptions } = status;
  return {
    breakGlass,
    exceptions: exceptions ?? [],
    policies: policies.map(({ name, generation, state }) => [name, generation, state]),
    lists: lists.map(({ name, generation, state, prefixSet }) => [name, generation, state, prefixSet]),
  };
}

function essence({ metadata, status }: NodeReportObject) {
  const { state, breakGlass, mode, agent, policies, lists, exceptions, interfaces, findings } = status;
  return {
    metadata,
    state,
    breakGlass,
    mode,
    agent,
    exceptions: exceptions ?? [],
    policies: policies.map(({ name, generation, state, conflicted, message }) => [
      name,
      generation,
      state,
      conflicted ?? [],
      message,
    ]),
    lists: lists.map(({ name, generation, state, message, prefixSet }) => [
      name,
      generation,
      state,
      message,
      prefixSet,
    ]),
    // A program's number changes with each change of a policy, which is told anyway.
    interfaces: (interfaces ?? []).map(({ programId: _programId, ...entry }) => entry),
    // Messages carry counts.
    findings: (findings ?? []).map(({ code, object, interface: at }) => `${code} ${object ?? ''} ${at ?? ''}`).sort(),
  };
}

function isBlockNews(told: NodeReportStatus, next: NodeReportStatus): boolean {
  const before = byKey(told.blocks);
  const isUntold = next.blocks.newest.some((block) => {
    const known = before.get(keyOf(block));
    return known === undefined || Date.parse(block.until) - Date.parse(known.until) > slackMs;
  });
  return isUntold || wasLifted(told, next);
}

const keyOf = ({ source, policy, state }: BlockReport): string => `${state} ${policy} ${source}`;
const byKey = ({ newest }: BlocksReport) => new Map(newest.map((block) => [keyOf(block), block]));

/** A block that is gone although its time is not over, and that others would not have pushed out of the list. */
function wasLifted(told: NodeReportStatus, next: NodeReportStatus): boolean {
  const nowMs = Date.parse(next.observedAt);
  const after = byKey(next.blocks);
  const { blocked, wouldBlock = 0, spared = 0, newest } = next.blocks;
  const isWhole = newest.length === blocked + wouldBlock + spared;
  return told.blocks.newest.some((block) => {
    if (after.has(keyOf(block)) || Date.parse(block.until) <= nowMs + slackMs) return false;
    // Those that drop are listed first: an older one that is still there shows that there was room.
    const others = newest.filter(({ state }) => (state === 'Blocked') === (block.state === 'Blocked'));
    return isWhole || others.some(({ since }) => Date.parse(since) < Date.parse(block.since));
  });
}
