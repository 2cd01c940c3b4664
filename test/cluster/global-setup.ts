import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import type { ClusterAddress } from './control-plane/cluster.ts';
import { ControlPlane } from './control-plane/control-plane.ts';
import { installPortcullis } from './control-plane/install.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Undefined where scripts/run-tests.ts found that this machine can have no control plane, and skips all tests. */
    readonly controlPlane: ClusterAddress | undefined;
  }
}

/**
 * One control plane for all files, with the CRDs and what deploy/ says. Files give their objects names of their own; those that
 * stop the API server or go back to a snapshot start a control plane of their own.
 */
export default async function setUp(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  if (process.env.PORTCULLIS_SKIP_CLUSTER !== undefined) {
    project.provide('controlPlane', undefined);
    return;
  }
  const plane = await ControlPlane.start();
  try {
    await installPortcullis(plane, join(import.meta.dirname, '..', '..'));
  } catch (error) {
    await plane.stop();
    throw error;
  }
  project.provide('controlPlane', plane.address);
  return () => plane.stop();
}
