import { readFileSync, writeFileSync } from 'node:fs';

const section = /(<!-- guide -->\n```console\n)([\s\S]*?)(```\n<!-- end of guide -->)/g;
const command = /^\$ (.*)$/gm;

export interface Printed {
  readonly line: string;
  /** What a terminal shows. */
  readonly shown: string;
}

/**
 * Runs every command that stands in the guide's parts of a page, in their order, and returns what each printed. With `update`
 * that is written into the page.
 * @param type runs a line and returns what a terminal shows
 * @param settle waits for what the command that follows is to show: a reader would just look again
 */
export async function runGuide(
  page: string,
  {
    type,
    settle,
    update,
  }: {
    readonly type: (line: string) => Promise<string>;
    readonly settle: (line: string) => Promise<void>;
    readonly update: boolean;
  },
): Promise<readonly Printed[]> {
  const text = readFileSync(page, 'utf8');
  const printed: Printed[] = [];
  let written = text;
  for (const [whole, begin, inside, end] of text.matchAll(section)) {
    const parts: string[] = [];
    for (const [, line] of inside!.matchAll(command)) {
      const shown = await type(line!);
      printed.push({ line: line!, shown });
      // Blanks at the ends of lines are nothing that a reader sees.
      parts.push(`$ ${line}\n${shown.replace(/[ \t]+$/gm, '').trimEnd()}\n`);
      await settle(line!);
    }
    written = written.replace(whole, () => begin + parts.join('\n') + end);
  }
  if (update) writeFileSync(page, written);
  return printed;
}
