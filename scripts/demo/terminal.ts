import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/** Writes for a person; colours only where the output is a terminal and NO_COLOR is not set. */
export class Terminal {
  readonly #stream: NodeJS.WriteStream;
  #step = 0;
  #failures = 0;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  get failures(): number {
    return this.#failures;
  }

  step(title: string): void {
    this.#line(`\n${this.#style('bold', `${++this.#step}. ${title}`)}`);
  }

  /** The command that is run, as a person would type it. */
  command(who: string, argv: readonly string[]): void {
    this.#line(`   ${this.#style('dim', `${who}$`)} ${argv.join(' ')}`);
  }

  text(text: string): void {
    for (const line of text.trimEnd().split('\n')) this.#line(`   ${line}`.trimEnd());
  }

  /** A fact that the demo promises; one that does not hold fails the demo. */
  check(holds: boolean, fact: string): void {
    if (!holds) this.#failures++;
    this.#line(`   ${holds ? this.#style('green', '✓') : this.#style('red', '✗')} ${fact}`);
  }

  result(text: string): void {
    this.#line(`\n${this.#style('bold', text)}`);
  }

  #style(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#stream });
  }

  #line(text: string): void {
    this.#stream.write(`${text}\n`);
  }
}
