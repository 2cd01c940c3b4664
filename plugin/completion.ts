import { type Flag, flagsOf, type Shell, shells } from './command-line.ts';
import { type CommandName, commandNames } from './help.ts';

/** What may stand where the cursor is. */
export interface Offer {
  readonly words: readonly string[];
  /** To be asked of the cluster. */
  readonly names?: 'policies' | 'nodes';
  readonly files?: true;
}

const nothing: Offer = { words: [] };

/** `words`: those behind the program's name; the last is the one that is being written, empty when none is begun. Pure. */
export function offerFor(words: readonly string[]): Offer {
  const current = words.at(-1) ?? '';
  const [command, ...given] = words.slice(0, -1);
  if (command === undefined) return { words: [...commandNames, 'help', 'version'] };
  if (command === 'help') return { words: given.length === 0 ? commandNames : [] };
  const flags = flagsOf[command as CommandName];
  if (flags === undefined) return nothing;
  const [, inlineFlag] = /^--([\w-]+)=/.exec(current) ?? [];
  if (inlineFlag !== undefined) return prefixed(`--${inlineFlag}=`, offerOf(flags[inlineFlag]));
  const before = given.at(-1) ?? '';
  const waiting = flagNamed(flags, before);
  if (waiting !== undefined && !waiting.isSwitch) return offerOf(waiting);
  if (current.startsWith('-')) return { words: unused(flags, given) };
  if (command === 'completion') return { words: shells };
  return command === 'check' ? { words: [], files: true } : nothing;
}

const prefixed = (start: string, offer: Offer): Offer => ({ ...offer, words: offer.words.map((word) => start + word) });

function flagNamed(flags: Readonly<Record<string, Flag>>, word: string): Flag | undefined {
  return Object.entries(flags).find(([name, { short }]) => word === `--${name}` || word === `-${short}`)?.[1];
}

function offerOf(flag: Flag | undefined): Offer {
  const { complete } = flag ?? {};
  if (complete === 'files') return { words: [], files: true };
  if (complete === 'policies' || complete === 'nodes') return { words: [], names: complete };
  return { words: complete ?? [] };
}

const unused = (flags: Readonly<Record<string, Flag>>, given: readonly string[]): string[] =>
  Object.entries(flags)
    .filter(([name, { isRepeatable }]) => isRepeatable || !given.includes(`--${name}`))
    .map(([name]) => `--${name}`)
    .concat('--help');

/** What kubectl and the scripts below read: a line a word, and then what the shell shall do by itself. */
export function completionLines(words: readonly string[], current: string, files: boolean): string {
  const fitting = words.filter((word) => word.startsWith(current));
  // As cobra has it, which kubectl is made with: 4 means no file names, 0 means file names.
  return [...fitting, files ? ':0' : ':4', ''].join('\n');
}

const scripts: Readonly<Record<Shell, string>> = {
  bash: `_kubectl_portcullis() {
  local -a lines
  mapfile -t lines < <(kubectl-portcullis __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  [[ \${#lines[@]} -gt 0 ]] || return
  local directive=\${lines[-1]}
  unset 'lines[-1]'
  COMPREPLY=("\${lines[@]%%$'\\t'*}")
  [[ $directive == :0 ]] && compopt -o default
}
complete -F _kubectl_portcullis kubectl-portcullis
`,
  zsh: `#compdef kubectl-portcullis
_kubectl_portcullis() {
  local -a lines
  lines=("\${(@f)$(kubectl-portcullis __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  local directive=\${lines[-1]}
  lines=("\${(@)lines[1,-2]}")
  (( \${#lines} )) && compadd -- "\${lines[@]}"
  [[ $directive == :0 ]] && _files
}
compdef _kubectl_portcullis kubectl-portcullis
`,
  fish: `function __kubectl_portcullis
  set -l words (commandline -opc)
  kubectl-portcullis __complete $words[2..] (commandline -ct) 2>/dev/null | string match -v ':*'
end
complete -c kubectl-portcullis -n 'string match -q check (commandline -opc)[2]' -F
complete -c kubectl-portcullis -n 'not string match -q check (commandline -opc)[2]' -f -a '(__kubectl_portcullis)'
`,
};

export const completionScript = (shell: Shell): string => scripts[shell];
