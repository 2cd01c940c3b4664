/** Runs inside a namespace: prints every snapshot as a line of JSON until SIGTERM, then ends by itself. `--xdp DEVICE` attaches instead. */
import koffi from 'koffi';
import { watchHost } from '../../agent/host/watch.ts';
import { errnoName } from '../../agent/libbpf/bpf-error.ts';
import { declare } from '../../agent/libbpf/ffi.ts';
import { attachXdpByNetlink, XdpFlag } from '../../agent/libbpf/netlink.ts';

const [action, argument = ''] = process.argv.slice(2);

if (action === '--xdp') await tryXdp(Number(argument));
else await follow(argument);

async function follow(folder: string): Promise<void> {
  const abort = new AbortController();
  process.once('SIGTERM', () => abort.abort());
  await watchHost(abort.signal, {
    onSnapshot: (snapshot) => console.log(JSON.stringify(snapshot)),
    onFailure: (error) => console.error(error),
    resolvers: { resolvConf: `${folder}/resolv.conf`, upstreams: `${folder}/upstreams.conf` },
  });
}

/** Loads the shortest XDP program, tries it in native and then in generic mode, and prints both answers. */
async function tryXdp(ifindex: number): Promise<void> {
  const load = declare<(type: number, name: string, license: string, code: Buffer, count: number, o: null) => number>(
    'int bpf_prog_load(int type, const char *name, const char *license, const void *code, size_t count, void *opts)',
  );
  // r0 = XDP_PASS; exit
  const code = Buffer.from('b700000002000000' + '9500000000000000', 'hex');
  const program = load(6, 'pass_all', 'GPL', code, 2, null);
  if (program < 0) throw new Error(`bpf_prog_load: ${errnoName(koffi.errno())}`);
  const answers = [];
  for (const flag of [XdpFlag.native, XdpFlag.generic]) {
    const { errno, message } = await attachXdpByNetlink(ifindex, program, flag | XdpFlag.updateIfNoExist);
    answers.push({ code: errno === 0 ? 'OK' : errnoName(errno), message });
  }
  console.log(JSON.stringify(answers));
}
