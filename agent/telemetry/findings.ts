import type { Finding } from '../finding.ts';

/** Logs each finding when it appears and when it is gone, not each time it is found again. */
export class FindingLog {
  readonly #appeared: (finding: Finding) => void;
  readonly #gone: (finding: Finding) => void;
  #known = new Map<string, Finding>();

  constructor(appeared: (finding: Finding) => void, gone: (finding: Finding) => void) {
    this.#appeared = appeared;
    this.#gone = gone;
  }

  /** Takes all findings that hold now. */
  update(findings: readonly Finding[]): void {
    const now = new Map(findings.map((finding) => [keyOf(finding), finding]));
    for (const [key, finding] of this.#known) if (!now.has(key)) this.#gone(finding);
    for (const [key, finding] of now) if (!this.#known.has(key)) this.#appeared(finding);
    this.#known = now;
  }
}

// Numbers are left out: "90 % full" and "91 % full" are one finding, and would be a line each second.
function keyOf(finding: Finding): string {
  const message = finding.message.replace(/\d+(\.\d+)?/g, '#');
  return JSON.stringify([finding.code, finding.object, finding.field, finding.interfaceName, message]);
}
