/**
 * What the compiler must refuse, since the C library behind the bindings would not: each line marked below fails the
 * type check if it were accepted. Nothing here is ever run.
 */
import type { LinkFd, MapFd, MapHandle, ObjectHandle, ProgramFd, ProgramHandle } from '../../agent/libbpf/ffi.ts';
import { lib } from '../../agent/libbpf/ffi.ts';
import type { XdpLink } from '../../agent/libbpf/link.ts';
import { XdpLink as Link } from '../../agent/libbpf/link.ts';
import { BpfMap } from '../../agent/libbpf/map.ts';
import type { BpfObject } from '../../agent/libbpf/object.ts';
import { BpfProgram } from '../../agent/libbpf/program.ts';
import { RingBuffer } from '../../agent/libbpf/ring-buffer.ts';
import { TestRun } from '../../agent/libbpf/test-run.ts';

interface Given {
  readonly map: BpfMap;
  readonly program: BpfProgram;
  readonly link: XdpLink;
  readonly object: BpfObject;
  readonly mapFd: MapFd;
  readonly programFd: ProgramFd;
  readonly linkFd: LinkFd;
  readonly objectHandle: ObjectHandle;
  readonly mapHandle: MapHandle;
  readonly programHandle: ProgramHandle;
}

export function whatIsAccepted({ map, program, link, object, programFd, mapHandle }: Given): void {
  Link.attach(program, 1, 'native');
  void link.update(program);
  object.reuse('blocks', map);
  new TestRun(program);
  new RingBuffer(map);
  BpfProgram.duplicate(programFd, 'guard');
  lib.mapName(mapHandle);
}

export function whatIsRefused(given: Given): void {
  const { map, program, link, object, mapFd, programFd, linkFd, objectHandle, mapHandle, programHandle } = given;
  // @ts-expect-error a map is no program
  Link.attach(map, 1, 'native');
  // @ts-expect-error a link is no program
  Link.attach(link, 1, 'native');
  // @ts-expect-error XDP has no such mode
  Link.attach(program, 1, 'offload');
  // @ts-expect-error a map is no program
  void link.update(map);
  // @ts-expect-error a program is no map
  object.reuse('blocks', program);
  // @ts-expect-error a map is no program
  new TestRun(map);
  // @ts-expect-error a program is no map
  new RingBuffer(program);
  // @ts-expect-error a map's descriptor is no program's
  BpfProgram.duplicate(mapFd, 'guard');
  // @ts-expect-error a program's descriptor is no map's
  BpfMap.fromFd(programFd, 'blocks');
  // @ts-expect-error any number is no descriptor of a map
  BpfMap.fromFd(7, 'blocks');
  // @ts-expect-error a link's descriptor is no map's
  lib.mapLookup(linkFd, null, null);
  // @ts-expect-error an object is no map
  lib.mapName(objectHandle);
  // @ts-expect-error a map is no program
  lib.programFd(mapHandle);
  // @ts-expect-error a program is no object
  lib.objectClose(programHandle);
}
