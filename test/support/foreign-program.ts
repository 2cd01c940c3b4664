import { join } from 'node:path';
import { type Namespace, nodePath } from './namespaces.ts';

const agentFolder = join(import.meta.dirname, '..', '..', 'agent');

/** Attaches an XDP program by netlink, as other tools do, and lets it live on the interface alone. */
export async function attachForeign(namespace: Namespace, link: string, mode: 'native' | 'generic'): Promise<void> {
  const from = (module: string): string => JSON.stringify(join(agentFolder, module));
  const script = `
    import { loadClockProgram } from ${from('datapath/kernel.ts')};
    import { attachXdpByNetlink, XdpFlag } from ${from('libbpf/netlink.ts')};
    const ifindex = Number(process.argv[1]);
    const answer = await attachXdpByNetlink(ifindex, (await loadClockProgram()).fd, XdpFlag.${mode});
    if (answer.errno !== 0) throw new Error('errno ' + answer.errno);`;
  const { stdout } = await namespace.exec(['ip', '-j', 'link', 'show', 'dev', link]);
  const [{ ifindex }] = JSON.parse(stdout) as [{ ifindex: number }];
  await namespace.exec([nodePath, '--input-type=module-typescript', '-e', script, `${ifindex}`]);
}
