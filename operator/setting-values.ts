import type { ValueForm } from '../cli/setting-values.ts';

export const dnsLabel: ValueForm<string> = {
  placeholder: 'NAME',
  allowed: 'a name of at most 63 lower-case letters, digits and dashes',
  read: (text) => (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text) ? text : undefined),
  suggest: (text) => text.toLowerCase(),
};
