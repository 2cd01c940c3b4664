import type { NodeSelector } from './types.ts';

/** Forms of a label's key and value, as the schemas of the API give them. */
export const LABEL_KEY_PATTERN =
  '^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$';
export const LABEL_VALUE_PATTERN = '^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$';
const KEY = new RegExp(LABEL_KEY_PATTERN);
const VALUE = new RegExp(LABEL_VALUE_PATTERN);
/** A DNS subdomain of 253, a slash and a name of 63. */
const MAX_KEY_LENGTH = 317;

export function isLabelKey(text: string): boolean {
  return text.length <= MAX_KEY_LENGTH && KEY.test(text);
}

export function isLabelValue(text: string): boolean {
  return text.length <= 63 && VALUE.test(text);
}

/**
 * Whether a node with these labels is selected. All requirements must hold; an absent or empty selector selects every node;
 * NotIn holds for a node without the label, as in Kubernetes.
 */
export function matchesLabels(selector: NodeSelector | undefined, labels: Readonly<Record<string, string>>): boolean {
  const labelOf = (key: string) => (Object.hasOwn(labels, key) ? labels[key] : undefined);
  for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) {
    if (labelOf(key) !== value) return false;
  }
  for (const { key, operator, values } of selector?.matchExpressions ?? []) {
    const value = labelOf(key);
    const listed = value !== undefined && (values ?? []).includes(value);
    const holds = { In: listed, NotIn: !listed, Exists: value !== undefined, DoesNotExist: value === undefined }[
      operator
    ];
    if (!holds) return false;
  }
  return true;
}
