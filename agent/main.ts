import { tellFailure } from '../cli/failure.ts';
import { type Command, parseCommandLine } from './settings.ts';
import { version } from './version.ts';

const io = { stdout: (text: string) => void process.stdout.write(text) };

/** Loads only what a command needs: `check` and `--help` work where there is no libbpf. */
const execute = async (command: Command): Promise<number> => {
  switch (command.name) {
    case 'help':
      (command.exitCode === 0 ? process.stdout : process.stderr).write(command.text);
      return command.exitCode;
    case 'version':
      io.stdout(`${version}\n`);
      return 0;
    case 'check':
      return await (await import('./commands/check.ts')).check(command, io);
    case 'run':
      // At once: taking down what HTTP/2 leaves behind was seen to keep Node.js busy for ever. The log is written out by then.
      return process.exit(await (await import('./commands/run.ts')).run(command.settings));
    case 'status':
      return await (await import('./commands/pinned.ts')).status(command, io);
    case 'blocked':
      return await (await import('./commands/pinned.ts')).blocked(command, io);
    case 'block':
      return await (await import('./commands/pinned.ts')).block(command, io);
    case 'unblock':
      return await (await import('./commands/pinned.ts')).unblock(command, io);
    case 'detach':
      return await (await import('./commands/pinned.ts')).detach(command, io);
  }
};

try {
  process.exitCode = await execute(parseCommandLine(process.argv.slice(2), process.env));
} catch (error) {
  process.exitCode = tellFailure('portcullis-agent', error);
}
