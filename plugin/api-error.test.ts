import { expect, test } from 'vitest';
import { errorOfConnection, errorOfStatus } from '../kube/errors.ts';
import { shortError } from './api-error.ts';

const server = 'https://127.0.0.1:6443';
const what = 'GET /apis/portcullis.dev/v1alpha1/nodereports';
const shorten = (status: number, body: Parameters<typeof errorOfStatus>[2]) =>
  shortError(errorOfStatus(what, status, body), server);

test('a right that is missing is named, with the role that has it', () => {
  const forbidden = (verb: string, resource: string) => ({
    code: 403,
    reason: 'Forbidden',
    message: `${resource}.portcullis.dev is forbidden: User "jane" cannot ${verb} resource "${resource}" in API group "portcullis.dev" at the cluster scope`,
  });
  expect(shorten(403, forbidden('list', 'nodereports'))).toEqual({
    message: 'you may not list nodereports.portcullis.dev',
    remedy: expect.stringContaining('portcullis-view'),
  });
  expect(shorten(403, forbidden('patch', 'sourceexceptions')).remedy).toContain('portcullis-oncall');
  expect(shorten(403, forbidden('patch', 'ipblocklists')).remedy).toContain('portcullis-edit');
});

test('a cluster without the kinds is told apart from an object that is not there', () => {
  expect(shorten(404, '404 page not found').message).toContain('does not know the kinds');
  const absent = { code: 404, reason: 'NotFound', message: 'nodereports.portcullis.dev "n1" not found' };
  expect(shorten(404, absent).message).toContain('"n1" not found');
});

test('what is invalid is told by its first fields, however long the answer is', () => {
  const causes = Array.from({ length: 10_000 }, (_, i) => ({
    field: `spec.entries[${i}].cidr`,
    message: 'x'.repeat(70),
    reason: 'FieldValueInvalid',
  }));
  const { message } = shorten(422, { code: 422, reason: 'Invalid', message: 'y'.repeat(772_000), details: { causes } });
  expect(message).toContain('spec.entries[0].cidr: xxx');
  expect(message).not.toContain('spec.entries[3]');
  expect(message.length).toBeLessThan(700);
});

test.each([
  [401, /--context/],
  [409, /Somebody else manages/],
  [429, /minute/],
  [500, /log of the API server/],
])('%i says what to do', (status, remedy) => {
  expect(shorten(status, { code: status, message: 'm' }).remedy).toMatch(remedy);
});

test('a server that is not there is named', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:6443'), { code: 'ECONNREFUSED' });
  expect(shortError(errorOfConnection(what, refused, true), server)).toEqual({
    message: `${server} cannot be reached: ECONNREFUSED`,
    remedy: expect.stringContaining('--context'),
  });
  const untrusted = Object.assign(new Error('self-signed'), { code: 'SELF_SIGNED_CERT_IN_CHAIN' });
  expect(shortError(errorOfConnection(what, untrusted, true), server).message).toContain('not trusted');
});

test('nothing that a server writes acts upon the terminal', () => {
  const { message } = shorten(500, { code: 500, message: 'a\x1b[31mred\nline' });
  expect(message).not.toMatch(/\p{Cc}/u);
});
