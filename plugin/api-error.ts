import { printable } from '../cli/format-text.ts';
import { type KubeError, shorten } from '../kube/errors.ts';

/** What went wrong, in one line, and what to do, in another. */
export interface ShortError {
  readonly message: string;
  readonly remedy: string;
}

/** Some answers of servers have 772 kB. */
const maxMessageChars = 200;
const shownCauses = 3;

/** By resource in the server's answer: the role of deploy/ that would help. */
const roles: readonly (readonly [RegExp, string])[] = [
  [/cannot (?:create|update|patch|delete) resource "sourceexceptions"/, 'portcullis-oncall'],
  [/cannot (?:create|update|patch|delete) resource/, 'portcullis-edit'],
  [/portcullis\.dev/, 'portcullis-view'],
];

export function shortError(error: KubeError, server: string): ShortError {
  const message = line(error.message);
  switch (error.status) {
    case 0:
      return unreachable(error, server);
    case 401:
      return {
        message: `${server} does not accept your credentials`,
        remedy: 'Log in again, or choose others by --context or --kubeconfig.',
      };
    case 403:
      return forbidden(error);
    case 404:
      return notFound(error);
    case 409:
      return {
        message,
        remedy: 'Somebody else manages this object: change it where it comes from, or delete it first.',
      };
    case 400:
    case 422:
      return invalid(error);
    case 429:
    case 503:
      return { message: 'the API server is overloaded', remedy: 'Try again in a minute.' };
    default:
      return { message, remedy: 'Try again; if it stays, look at the log of the API server.' };
  }
}

function unreachable(error: KubeError, server: string): ShortError {
  const isCertificate = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS/.test(error.code);
  if (isCertificate) {
    return {
      message: `the certificate of ${server} is not trusted: ${line(error.code)}`,
      remedy: "Check the cluster's certificate authority in the kubeconfig.",
    };
  }
  if (error.code === 'ECREDENTIALS') {
    return { message: line(error.message), remedy: 'Repair the user in the kubeconfig, or choose another --context.' };
  }
  return {
    message: `${server} cannot be reached: ${line(error.code || error.message)}`,
    remedy: 'Check the network and the address in the kubeconfig, or choose another --context.',
  };
}

function forbidden(error: KubeError): ShortError {
  const right = /cannot (\w+) resource "([\w/.-]+)"(?: in API group "([\w.-]*)")?/.exec(error.message);
  const [, verb, resource, group] = right ?? [];
  const message = right === null ? line(error.message) : `you may not ${verb} ${resource}${group ? `.${group}` : ''}`;
  const role = roles.find(([pattern]) => pattern.test(error.message))?.[1];
  const remedy =
    role === undefined
      ? 'Ask whoever administers the cluster for that right.'
      : `Ask whoever administers the cluster for the ClusterRole ${role}, which has that right.`;
  return { message, remedy };
}

/** The server says "page not found" of a kind that it does not know, and names an object that is not there. */
function notFound(error: KubeError): ShortError {
  if (/"[^"]+" not found/.test(error.message)) {
    return { message: line(error.message), remedy: 'Check the name.' };
  }
  return {
    message: 'this cluster does not know the kinds of portcullis.dev',
    remedy: 'Apply the CustomResourceDefinitions in crds/, or choose another cluster by --context.',
  };
}

function invalid(error: KubeError): ShortError {
  const causes = error.causes.slice(0, shownCauses).map(({ field, message }) => line(`${field}: ${message}`));
  return {
    message: causes.length > 0 ? causes.join('; ') : line(error.message),
    remedy: 'Correct the field; `kubectl explain` tells what it takes.',
  };
}

const line = (text: string): string => printable(shorten(text.replace(/\s+/g, ' ').trim(), maxMessageChars));
