/** What the parts of a cluster's state come to together. Pure. */
import { detachWishUid } from '../../api/detach-wish.ts';
import type { ClusterFacts } from '../../api/types.ts';
import { type Finding, findingOf } from '../finding.ts';
import type { ClusterObjects } from './cluster-objects.ts';
import type { NodeFacts } from './cluster-state.ts';
import type { PolicySnapshot } from './policy-source.ts';
import type { PrefixSets } from './prefix-sets.ts';

/** On a Node: `detach` asks for everything to be detached there. */
export const breakGlassAnnotation = 'portcullis.dev/break-glass';
const breakGlassValue = 'detach';

export interface ClusterParts {
  readonly policies: ClusterObjects<'PortScanPolicy'>;
  readonly lists: ClusterObjects<'IpBlocklist'>;
  readonly exceptions: ClusterObjects<'SourceException'>;
  readonly facts: readonly ClusterFacts[];
  /** There is a wish among the facts that all agents detach, and this agent is meant. */
  readonly isUninstalled: boolean;
  readonly sets: PrefixSets;
  readonly node: NodeFacts;
  readonly nodeName: string;
  /** The server was asked and has no such Node. */
  readonly isNodeMissing: boolean;
}

export function combineCluster(parts: ClusterParts): PolicySnapshot {
  const { policies, lists, exceptions, facts, sets, node } = parts;
  const objects = [policies, lists, exceptions];
  return {
    portScanPolicies: policies.good().map(({ object }) => object),
    ipBlocklists: lists.good().map(({ object }) => object),
    sourceExceptions: exceptions.good().map(({ object }) => object),
    findings: [...objects.flatMap((each) => each.findings()), ...sets.findings(), ...nodeFindings(parts)],
    cluster: {
      nodeLabels: node.labels,
      ...(node.uid !== undefined && { nodeUid: node.uid }),
      breakGlass: node.breakGlass === breakGlassValue,
      uninstalled: parts.isUninstalled,
      facts: facts.filter((each) => detachWishUid(each) === undefined),
      prefixSets: sets.contents,
      refused: objects.flatMap((each) => each.refused()),
    },
  };
}

function nodeFindings({ node, nodeName, isNodeMissing }: ClusterParts): Finding[] {
  const findings: Finding[] = [];
  const object = `Node/${nodeName}`;
  if (isNodeMissing) findings.push(findingOf('NodeNotFound', `there is no ${object}`, { object }));
  if (node.breakGlass !== undefined && node.breakGlass !== breakGlassValue) {
    const field = `metadata.annotations[${breakGlassAnnotation}]`;
    const message = `${JSON.stringify(node.breakGlass.slice(0, 50))} asks for nothing`;
    const remedy = `Write ${breakGlassAnnotation}=${breakGlassValue}, or take the annotation away.`;
    findings.push(findingOf('NotAllowedValue', `${field} of ${object}: ${message}`, { object, field, remedy }));
  }
  return findings;
}
