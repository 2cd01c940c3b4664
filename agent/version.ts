import manifest from '../package.json' with { type: 'json' };

/** Of package.json, taken into the bundle when it is built. */
export const version: string = manifest.version;
