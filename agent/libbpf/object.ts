import koffi from 'koffi';
import { BpfError, check, checkPointer } from './bpf-error.ts';
import { duplicateFd } from './duplicate.ts';
import { later, lib, type MapFd, type MapHandle, type ObjectHandle } from './ffi.ts';
import { BpfMap } from './map.ts';
import { BpfProgram } from './program.ts';

/** A refused program's log can be this long; the reason stands at its end. */
const VERIFIER_LOG_BYTES = 1 << 20;
const BPF_F_XDP_HAS_FRAGS = 1 << 5;

/**
 * An ELF object on its way into the kernel: configure between open() and load(), then take programs and maps out.
 * Close it when that is done; what was taken lives on.
 */
export class BpfObject {
  #handle: ObjectHandle | undefined;
  #loaded = false;
  // C keeps no copy: the image must live as long as the object.
  readonly #image: Buffer;
  readonly #maps = new Map<string, MapHandle>();

  private constructor(handle: ObjectHandle, image: Buffer) {
    this.#handle = handle;
    this.#image = image;
    for (let map = lib.nextMap(handle, null); map !== null; map = lib.nextMap(handle, map))
      this.#maps.set(lib.mapName(map), map);
  }

  static open(image: Buffer): BpfObject {
    return new BpfObject(checkPointer('open BPF object', lib.objectOpenMem(image, image.length, null)), image);
  }

  get #open(): ObjectHandle {
    if (this.#handle === undefined) throw new Error('BPF object is closed');
    return this.#handle;
  }

  /** Sections' maps carry the object's name in front: `36e0fde0.rodata`. */
  #map(name: string): MapHandle {
    const found = this.#maps.get(name) ?? [...this.#maps].find(([full]) => full.endsWith(name))?.[1];
    if (found === undefined) throw new Error(`BPF object has no map ${name}`);
    return found;
  }

  get mapNames(): string[] {
    return [...this.#maps.keys()].filter((name) => !name.includes('.'));
  }

  /** The whole .rodata section; frozen at load. */
  setReadOnlyData(bytes: Buffer): void {
    this.#beforeLoad();
    check('set read-only data', lib.mapSetInitialValue(this.#map('.rodata'), bytes, bytes.length));
  }

  setMaxEntries(map: string, entries: number): void {
    this.#beforeLoad();
    check(`size map ${map}`, lib.mapSetMaxEntries(this.#map(map), entries));
  }

  setValueBytes(map: string, bytes: number): void {
    this.#beforeLoad();
    check(`size values of map ${map}`, lib.mapSetValueSize(this.#map(map), bytes));
  }

  /** The program will use this map instead of one of its own. */
  reuse(name: string, map: BpfMap): void {
    this.#beforeLoad();
    check(`reuse map ${name}`, lib.mapReuseFd(this.#map(name), map.fd));
  }

  /** For kernels before 5.18, which refuse the flag that SEC("xdp.frags") asks for. */
  disableFrags(program: string): void {
    this.#beforeLoad();
    const handle = checkPointer(`find program ${program}`, lib.findProgram(this.#open, program));
    check(`configure program ${program}`, lib.programSetFlags(handle, 0 & BPF_F_XDP_HAS_FRAGS));
  }

  #beforeLoad(): void {
    if (this.#loaded) throw new Error('BPF object is loaded: configuration is frozen');
  }

  /** @throws BpfError with the verifier's log */
  async load(program: string): Promise<void> {
    const handle = checkPointer(`find program ${program}`, lib.findProgram(this.#open, program));
    const log = koffi.alloc('uint8_t', VERIFIER_LOG_BYTES) as unknown as bigint;
    try {
      check('set log buffer', lib.programSetLogBuf(handle, log, VERIFIER_LOG_BYTES));
      const { result, errno } = await later<unknown[], number>(lib.objectLoad, this.#open);
      if (result < 0) {
        const text = String(koffi.decode(log, 'char', -1));
        throw new BpfError(`load ${program}`, result === -1 ? errno : -result, text || undefined);
      }
      this.#loaded = true;
    } finally {
      koffi.free(log);
    }
  }

  /** Outlives the object: the descriptor is duplicated by way of the kernel's own reference. */
  takeProgram(name: string): BpfProgram {
    const handle = checkPointer(`find program ${name}`, lib.findProgram(this.#open, name));
    return BpfProgram.duplicate(lib.programFd(handle), name);
  }

  takeMap(name: string): BpfMap {
    const fd = check(`map ${name}`, lib.mapFd(this.#map(name)));
    return BpfMap.fromFd(duplicateFd(fd) as MapFd, name);
  }

  close(): void {
    if (this.#handle === undefined) return;
    lib.objectClose(this.#handle);
    this.#handle = undefined;
    void this.#image;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
