/** What watches keep of objects: an object in the API may be 1.5 MB, and most of that is nobody's business here. */
import type { KubeMeta, KubeObject } from '../../kube/objects.ts';
import { breakGlassAnnotation } from './cluster-snapshot.ts';

export type Facts = KubeObject & { readonly spec?: unknown };

/** Names, versions and owners; annotations alone may be as long as the object. */
export function bareObject({ metadata }: KubeObject): KubeObject {
  const { name, uid, resourceVersion, generation, ownerReferences } = metadata;
  const { managedFields = [] } = metadata as { managedFields?: readonly Record<string, unknown>[] };
  const writes = managedFields.map(({ manager, operation, subresource, time }) => ({
    manager,
    operation,
    subresource,
    time,
  }));
  return {
    metadata: {
      name,
      ...(uid !== undefined && { uid }),
      ...(resourceVersion !== undefined && { resourceVersion }),
      ...(generation !== undefined && { generation }),
      ...(ownerReferences && { ownerReferences }),
      managedFields: writes,
    } as KubeMeta,
  };
}

export function wholeObject(object: Facts): Facts {
  return { ...bareObject(object), spec: object.spec };
}

export function nodeObject({ metadata }: KubeObject): KubeObject {
  const { name, uid, resourceVersion, labels = {}, annotations = {} } = metadata;
  const breakGlass = annotations[breakGlassAnnotation];
  return {
    metadata: {
      name,
      ...(uid !== undefined && { uid }),
      ...(resourceVersion !== undefined && { resourceVersion }),
      labels,
      ...(breakGlass !== undefined && { annotations: { [breakGlassAnnotation]: breakGlass } }),
    },
  };
}
