import { expect, test } from 'vitest';
import {
  errorOfConnection,
  errorOfStatus,
  isConflict,
  isConnection,
  isForbidden,
  isGone,
  isNotFound,
  isThrottled,
  isTooNew,
  isUnauthorized,
  KubeError,
  malformed,
} from './errors.ts';
import { statusObject, tooLargeVersion } from './testing/fault-server.ts';

const what = 'GET /api/v1/nodes/n1';

test('says what was asked, the status, its reason and its message', () => {
  const error = errorOfStatus(what, 404, statusObject(404, 'NotFound', 'nodes "n1" not found'));
  expect(error.message).toBe('GET /api/v1/nodes/n1: 404 NotFound: nodes "n1" not found');
  expect(error).toMatchObject({ name: 'KubeError', status: 404, reason: 'NotFound', code: '', causes: [] });
});

test('takes plain text, as a proxy answers it', () => {
  expect(errorOfStatus(what, 502, '<html>Bad Gateway</html>\n').message).toBe(
    'GET /api/v1/nodes/n1: 502: <html>Bad Gateway</html>',
  );
});

test.each([
  ['999999', undefined],
  [undefined, 1e12],
])('nobody is asked to wait for longer than five minutes: header %s, body %s', (header, retryAfterSeconds) => {
  const body = retryAfterSeconds === undefined ? 'later' : { message: 'later', details: { retryAfterSeconds } };
  expect(errorOfStatus(what, 429, body, header).retryAfterMs).toBe(300_000);
});

test('10,000 bad entries become 500 characters and 10 causes', () => {
  const causes = Array.from({ length: 10_000 }, (_, i) => ({
    field: `spec.entries[${i}].cidr`,
    message: 'Invalid value: "x"',
    reason: 'FieldValueInvalid',
  }));
  const message = `IpBlocklist is invalid: [${causes.map(({ field, message }) => `${field}: ${message}`).join(', ')}]`;
  expect(message.length).toBeGreaterThan(400_000);
  const error = errorOfStatus(what, 422, { code: 422, reason: 'Invalid', message, details: { causes } });
  expect(error.message).toHaveLength(500);
  expect(error.message.endsWith('…')).toBe(true);
  expect(error.causes).toHaveLength(10);
  expect(error.causes[0]).toEqual(causes[0]);
});

test.each([
  ['2', undefined, 2000],
  [undefined, 3, 3000],
  ['2', 3, 2000],
  ['Wed, 21 Oct 2026 07:28:00 GMT', undefined, undefined],
  ['-1', undefined, undefined],
  [undefined, 0, undefined],
])('Retry-After %s and retryAfterSeconds %s give %s ms', (header, seconds, expected) => {
  const details = seconds === undefined ? {} : { details: { retryAfterSeconds: seconds } };
  expect(errorOfStatus(what, 429, { code: 429, ...details }, header).retryAfterMs).toBe(expected);
});

test('a status in a watch counts more than the 200 of its response', () => {
  expect(errorOfStatus(what, 200, statusObject(410, 'Expired', 'old')).status).toBe(410);
});

test('a connection has a code, found in causes and among several addresses too', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED ::1:6443'), { code: 'ECONNREFUSED' });
  for (const thrown of [refused, new Error('fetch failed', { cause: refused }), new AggregateError([refused], '')]) {
    expect(errorOfConnection(what, thrown, true)).toMatchObject({
      status: 0,
      code: 'ECONNREFUSED',
      isConnecting: true,
    });
  }
  expect(errorOfConnection(what, refused, true).message).toBe('GET /api/v1/nodes/n1: connect ECONNREFUSED ::1:6443');
  expect(errorOfConnection(what, 'odd', false)).toMatchObject({ code: 'UNKNOWN', cause: 'odd' });
});

test('an error that is one already stays as it is', () => {
  const error = new KubeError({ message: 'x', status: 409 });
  expect(errorOfConnection(what, error, true)).toBe(error);
});

test('each kind of refusal is told by one question', () => {
  const questions = {
    isNotFound,
    isConflict,
    isGone,
    isUnauthorized,
    isForbidden,
    isThrottled,
    isTooNew,
    isConnection,
  };
  const yes = (error: unknown) => Object.entries(questions).flatMap(([name, ask]) => (ask(error) ? [name] : []));
  const status = (code: number) => errorOfStatus(what, code, '');
  expect(yes(status(404))).toEqual(['isNotFound']);
  expect(yes(status(409))).toEqual(['isConflict']);
  expect(yes(status(410))).toEqual(['isGone']);
  expect(yes(status(401))).toEqual(['isUnauthorized']);
  expect(yes(status(403))).toEqual(['isForbidden']);
  expect(yes(status(429))).toEqual(['isThrottled']);
  expect(yes(errorOfStatus(what, 504, tooLargeVersion))).toEqual(['isTooNew']);
  expect(
    yes(errorOfStatus(what, 504, { code: 504, message: 'Timeout: Too large resource version: 9, current: 8' })),
  ).toEqual(['isTooNew']);
  expect(yes(errorOfStatus(what, 504, 'upstream timed out'))).toEqual([]);
  expect(yes(new KubeError({ message: 'x', code: 'ECONNRESET' }))).toEqual(['isConnection']);
  expect(yes(new KubeError({ message: 'x', code: malformed }))).toEqual([]);
  expect(yes(new Error('x'))).toEqual([]);
});
