// A cluster of one node that its test kills: says so when it runs, and waits.
import { RealCluster } from './real-cluster.ts';

const cluster = await RealCluster.start();
await cluster.addNode();
process.stdout.write('runs\n');
setInterval(() => {}, 60_000);
