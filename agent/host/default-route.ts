import type { HostRoute } from './snapshot.ts';

/** Of either family, in whatever table. */
export const isDefaultRoute = ({ destination }: HostRoute): boolean => destination.endsWith('/0');
