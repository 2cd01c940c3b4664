import { expect } from 'vitest';
import type { AnyObject, Cluster } from '../control-plane/cluster.ts';

const apiVersion = 'portcullis.dev/v1alpha1';

/** Where objects are, and how to wait there. */
export interface Place {
  readonly plane: Cluster;
  until<T>(what: string, look: () => T | Promise<T>, timeoutMs?: number): Promise<Exclude<T, false | undefined>>;
}

/** Of the policies of these tests, unless they say otherwise. */
export const distinctTargets = 15;

/** A policy whose blocks outlast every test, unless `spec` says otherwise. */
export const policy = (name: string, spec: object = {}): AnyObject => ({
  apiVersion,
  kind: 'PortScanPolicy',
  metadata: { name },
  spec: {
    mode: 'Enforce',
    detection: { distinctTargets },
    block: { duration: '2h', unprovenDuration: '2h' },
    ...spec,
  },
});

export const blocklist = (name: string, entries: readonly object[]): AnyObject => ({
  apiVersion,
  kind: 'IpBlocklist',
  metadata: { name },
  spec: { entries },
});

/** Conditions of a status by their types; {} where there are none. */
export const conditionsOf = (status: AnyObject): AnyObject =>
  Object.fromEntries((status.conditions ?? []).map((condition: AnyObject) => [condition.type, condition]));

/** Waits until a policy's status says of its present generation that all nodes which it selects have it. */
export async function untilProgrammed(
  world: Place,
  name: string,
  { nodes, timeoutMs = 60_000 }: { readonly nodes?: number; readonly timeoutMs?: number } = {},
): Promise<AnyObject> {
  return (await untilObject(
    world,
    'portscanpolicy',
    name,
    ({ metadata: { generation }, status = {} }) => {
      const { Programmed } = conditionsOf(status);
      return (
        Programmed?.status === 'True' &&
        Programmed.observedGeneration === generation &&
        status.nodes.programmed === (nodes ?? status.nodes.selected) &&
        status.nodes.selected === status.nodes.programmed
      );
    },
    timeoutMs,
  )) as AnyObject;
}

/** Waits until an object is as a test wants it, and shows it as it was last when that is in vain. */
export async function untilObject(
  world: Place,
  kind: string,
  name: string,
  isSo: (object: AnyObject) => unknown,
  timeoutMs = 60_000,
): Promise<AnyObject> {
  let last: AnyObject | undefined;
  try {
    return await world.until(
      `${kind}/${name}`,
      async () => {
        last = await world.plane.get(kind, name);
        return last !== undefined && isSo(last) ? last : undefined;
      },
      timeoutMs,
    );
  } catch (error) {
    throw new Error(`${(error as Error).message}; it was ${JSON.stringify({ ...last, metadata: undefined })}`, {
      cause: error,
    });
  }
}

/** Sources that the status of a policy has as blocked, each with its nodes. */
export const blockedIn = (status: AnyObject): Record<string, readonly string[]> =>
  Object.fromEntries(
    ((status.blocks ?? []) as AnyObject[])
      .filter(({ state }) => state === 'Blocked')
      .map(({ source, nodes }) => [source, [...nodes].sort()]),
  );

/** Applies an object and returns it as the server has it. */
export async function apply(world: Place, object: AnyObject): Promise<AnyObject> {
  await world.plane.apply(object);
  const stored = await world.plane.get(object.kind, object.metadata.name);
  expect(stored).toBeDefined();
  return stored!;
}
