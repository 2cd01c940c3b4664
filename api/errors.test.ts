import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ErrorTable, errorTableMarkdown, PortcullisError } from './errors.ts';
import { schemas } from './types/schemas.ts';

describe('the table of errors', () => {
  it('is what docs/errors.md says', () => {
    expect(readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8')).toBe(errorTableMarkdown());
  });

  it('has whole sentences', () => {
    for (const [code, { summary, remedy }] of Object.entries(ErrorTable)) {
      expect(code).toMatch(/^[A-Z][A-Za-z]+$/);
      expect(summary, code).toMatch(/^["A-Z].+\.$/);
      expect(remedy, code).toMatch(/^["A-Z].+\.$/);
    }
  });

  it('names every kind where a kind is unknown', () => {
    for (const kind of Object.keys(schemas)) expect(ErrorTable.UnknownKind.remedy).toContain(kind);
  });
});

describe('PortcullisError', () => {
  it('carries the remedy of the table unless a better one is given', () => {
    expect(new PortcullisError('NotRoot', 'may not load').remedy).toBe(ErrorTable.NotRoot.remedy);
    expect(new PortcullisError('NotRoot', 'may not load', { remedy: 'Use sudo.' }).remedy).toBe('Use sudo.');
  });

  it('keeps the cause, the field and the value', () => {
    const cause = new Error('EPERM');
    const error = new PortcullisError('BadSetting', 'x', { cause, field: '--pin-path', value: 7 });
    expect(error).toMatchObject({ code: 'BadSetting', cause, field: '--pin-path', value: 7, name: 'PortcullisError' });
  });
});
