import koffi from 'koffi';

const errnoNames = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]));

/** ENOTSUPP and ESTRPIPE's neighbours are kernel-internal numbers that BPF calls still return. */
const kernelErrnoNames = new Map([[524, 'ENOTSUPP']]);

export const errnoName = (errno: number): string =>
  errnoNames.get(errno) ?? kernelErrnoNames.get(errno) ?? `errno ${errno}`;

/** A failed call into libbpf or the kernel: what was tried, the errno by name and number, and the verifier's log if it wrote one. */
export class BpfError extends Error {
  override readonly name = 'BpfError';
  /** Name of the errno, such as `EBUSY`. */
  readonly code: string;
  readonly operation: string;
  readonly errno: number;
  readonly verifierLog: string | undefined;

  constructor(operation: string, errno: number, verifierLog?: string) {
    const code = errnoName(errno);
    super(`${operation}: ${code}${verifierLog ? `\n${lastLines(verifierLog, 20)}` : ''}`);
    this.code = code;
    this.operation = operation;
    this.errno = errno;
    this.verifierLog = verifierLog;
  }
}

/** The verifier says why it refused at the end of a log that may be a megabyte long. */
const lastLines = (text: string, count: number): string => text.trimEnd().split('\n').slice(-count).join('\n');

/** libbpf 1.x returns a negative errno; libc and a few wrappers return -1 and set errno. */
export const check = <N extends number>(operation: string, result: N, errno?: number): N => {
  if (result < 0) throw new BpfError(operation, result === -1 ? (errno ?? koffi.errno()) || 1 : -result);
  return result;
};

export const checkPointer = <P>(operation: string, pointer: P | null): P => {
  if (pointer === null) throw new BpfError(operation, koffi.errno());
  return pointer;
};
