/**
 * What an administrator does to a release of the chart, on a cluster of two real nodes with the images that the Dockerfiles built:
 * one file and one cluster, since each takes its time. The parts can be run alone: `-t 'updates'`.
 */
import { describe } from 'vitest';
import { installTests } from './install.ts';
import { uninstallTests } from './uninstall.ts';
import { updateTests } from './updates.ts';
import { useReleaseWorld } from './use-release.ts';

const here = useReleaseWorld();

describe('helm install', () => installTests(here));
describe('updates', () => updateTests(here));
describe('helm uninstall', () => uninstallTests(here));
