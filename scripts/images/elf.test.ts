import { describe, expect, test } from 'vitest';
import { isElf, neededLibraries } from './elf.ts';

describe('an ELF file', () => {
  test('names the libraries that it needs', () => {
    const needed = neededLibraries(process.execPath);
    expect(needed).toContain('libc.so.6');
    for (const name of needed) expect(name).toMatch(/^[\w.+-]+\.so(\.[\d.]+)?$/);
  });

  test('is told from a text', () => {
    expect(isElf(process.execPath)).toBe(true);
    expect(isElf(import.meta.filename)).toBe(false);
    expect(() => neededLibraries(import.meta.filename)).toThrow(/no 64-bit little-endian ELF file/);
  });
});
