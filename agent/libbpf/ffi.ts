import koffi, { type KoffiFunc, type LibraryHandle } from 'koffi';

/*
 * Every declaration of libbpf and libc that the agent calls. koffi checks no pointer, so the brands below must: they
 * exist for the compiler only, and only this folder may make or open one. Syscall-level functions are preferred to
 * libbpf's newer conveniences, so that libbpf 1.1 (Debian 12) is enough.
 */
type Brand<Base, Name extends string> = Base & { readonly brand: Name };
export type ObjectHandle = Brand<bigint, 'bpf_object'>;
export type ProgramHandle = Brand<bigint, 'bpf_program'>;
export type MapHandle = Brand<bigint, 'bpf_map'>;
export type MapFd = Brand<number, 'map'>;
export type ProgramFd = Brand<number, 'program'>;
export type LinkFd = Brand<number, 'link'>;
export type Bytes = NodeJS.ArrayBufferView | null;
export type Count = [number];

export const libc = koffi.load('libc.so.6');
/** By soname: the run-time package is enough, no -dev package is needed. */
export const libbpf = koffi.load(process.env.PORTCULLIS_LIBBPF ?? 'libbpf.so.1');

// biome-ignore lint/suspicious/noExplicitAny: the one place where C signatures get their TypeScript types
export const declare = <F extends (...args: any[]) => any>(
  declaration: string,
  library: LibraryHandle = libbpf,
): KoffiFunc<F> => library.func(declaration) as unknown as KoffiFunc<F>;

/** The same call on koffi's thread pool: loads, link updates and map-in-map updates wait for RCU, 10 ms and more. */
export const later = <A extends unknown[], R>(
  // biome-ignore lint/suspicious/noExplicitAny: koffi's own type of an asynchronous call
  call: { async: (...args: any[]) => void },
  ...args: A
): Promise<{ result: R; errno: number }> =>
  new Promise((resolve, reject) => {
    // errno belongs to the worker's call and is valid only inside this callback.
    call.async(...args, (error: unknown, result: R) =>
      error ? reject(error) : resolve({ result, errno: koffi.errno() }),
    );
  });

export const lib = {
  objectOpenMem: declare<(image: Buffer, bytes: number, options: Bytes) => ObjectHandle | null>(
    'void *bpf_object__open_mem(const void *buf, size_t sz, void *opts)',
  ),
  objectLoad: declare<(object: ObjectHandle) => number>('int bpf_object__load(void *obj)'),
  objectClose: declare<(object: ObjectHandle) => void>('void bpf_object__close(void *obj)'),
  findMap: declare<(object: ObjectHandle, name: string) => MapHandle | null>(
    'void *bpf_object__find_map_by_name(void *obj, const char *name)',
  ),
  nextMap: declare<(object: ObjectHandle, previous: MapHandle | null) => MapHandle | null>(
    'void *bpf_object__next_map(void *obj, void *prev)',
  ),
  mapName: declare<(map: MapHandle) => string>('const char *bpf_map__name(void *m)'),
  mapFd: declare<(map: MapHandle) => MapFd>('int bpf_map__fd(void *m)'),
  mapReuseFd: declare<(map: MapHandle, fd: MapFd) => number>('int bpf_map__reuse_fd(void *m, int fd)'),
  mapSetMaxEntries: declare<(map: MapHandle, entries: number) => number>(
    'int bpf_map__set_max_entries(void *m, uint32_t n)',
  ),
  mapSetValueSize: declare<(map: MapHandle, bytes: number) => number>(
    'int bpf_map__set_value_size(void *m, uint32_t n)',
  ),
  mapSetInitialValue: declare<(map: MapHandle, value: Buffer, bytes: number) => number>(
    'int bpf_map__set_initial_value(void *m, const void *d, size_t n)',
  ),
  findProgram: declare<(object: ObjectHandle, name: string) => ProgramHandle | null>(
    'void *bpf_object__find_program_by_name(void *obj, const char *name)',
  ),
  programFd: declare<(program: ProgramHandle) => ProgramFd>('int bpf_program__fd(void *p)'),
  programSetFlags: declare<(program: ProgramHandle, flags: number) => number>(
    'int bpf_program__set_flags(void *p, uint32_t flags)',
  ),
  programSetLogBuf: declare<(program: ProgramHandle, log: bigint, bytes: number) => number>(
    'int bpf_program__set_log_buf(void *p, void *buf, size_t n)',
  ),
  setPrint: declare<(callback: null) => bigint | null>('void *libbpf_set_print(void *fn)'),
  possibleCpus: declare<() => number>('int libbpf_num_possible_cpus()'),
  versionString: declare<() => string>('const char *libbpf_version_string()'),

  objPin: declare<(fd: number, path: string) => number>('int bpf_obj_pin(int fd, const char *p)'),
  objGet: declare<(path: string) => number>('int bpf_obj_get(const char *p)'),
  infoByFd: declare<(fd: number, info: Buffer, bytes: Count) => number>(
    'int bpf_obj_get_info_by_fd(int fd, void *info, _Inout_ uint32_t *len)',
  ),
  mapCreate: declare<
    (type: number, name: string, keyBytes: number, valueBytes: number, entries: number, options: Bytes) => MapFd
  >('int bpf_map_create(int type, const char *name, uint32_t ks, uint32_t vs, uint32_t n, void *opts)'),
  mapUpdate: declare<(fd: MapFd, key: Bytes, value: Bytes, flags: number) => number>(
    'int bpf_map_update_elem(int fd, const void *k, const void *v, uint64_t fl)',
  ),
  mapLookup: declare<(fd: MapFd, key: Bytes, value: Bytes) => number>(
    'int bpf_map_lookup_elem(int fd, const void *k, void *v)',
  ),
  mapDelete: declare<(fd: MapFd, key: Bytes) => number>('int bpf_map_delete_elem(int fd, const void *k)'),
  mapNextKey: declare<(fd: MapFd, key: Bytes, next: Bytes) => number>(
    'int bpf_map_get_next_key(int fd, const void *k, void *n)',
  ),
  mapUpdateBatch: declare<(fd: MapFd, keys: Bytes, values: Bytes, count: Count, options: Bytes) => number>(
    'int bpf_map_update_batch(int fd, const void *k, const void *v, _Inout_ uint32_t *n, void *opts)',
  ),
  mapLookupBatch: declare<
    (fd: MapFd, inBatch: Bytes, outBatch: Bytes, keys: Bytes, values: Bytes, count: Count, options: Bytes) => number
  >('int bpf_map_lookup_batch(int fd, void *inb, void *outb, void *k, void *v, _Inout_ uint32_t *n, void *opts)'),
  linkCreate: declare<(program: ProgramFd, ifindex: number, type: number, options: Bytes) => LinkFd>(
    'int bpf_link_create(int prog, int target, int type, void *opts)',
  ),
  linkUpdate: declare<(link: LinkFd, program: ProgramFd, options: Bytes) => number>(
    'int bpf_link_update(int link, int prog, void *opts)',
  ),
  linkDetach: declare<(link: LinkFd) => number>('int bpf_link_detach(int link)'),
  testRun: declare<(program: ProgramFd, options: Buffer) => number>('int bpf_prog_test_run_opts(int fd, void *opts)'),

  close: declare<(fd: number) => number>('int close(int fd)', libc),
  open: declare<(path: string, flags: number) => number>('int open(const char *path, int flags)', libc),
  flock: declare<(fd: number, operation: number) => number>('int flock(int fd, int operation)', libc),
  mmap: declare<(address: null, bytes: number, protection: number, flags: number, fd: number, at: number) => bigint>(
    'void *mmap(void *addr, size_t len, int prot, int flags, int fd, int64_t off)',
    libc,
  ),
  munmap: declare<(address: bigint, bytes: number) => number>('int munmap(void *addr, size_t len)', libc),
} as const;

// libbpf's own messages would mix with the JSON log on stderr; what matters reaches BpfError.
lib.setPrint(null);
