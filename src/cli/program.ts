import { createRequire } from 'node:module'
import { Command, CommanderError, Option } from 'commander'
import { fork, purge, remove, rewind, step } from './changes.ts'
import { countOf, Interrupted, interruptionOf, UsageError, withHistory, type Context } from './context.ts'
import { copy } from './copy.ts'
import type { InspectOptions } from './inspect.ts'
import { say, visibleLine } from './output.ts'
import { exportSessions, importFiles, IMPORT_USER, type ExportOptions, type ImportOptions } from './transfer.ts'
import { verify } from './verify.ts'
import { compare, log, sessions, show, stats, users } from './views.ts'
import { withoutCredentials } from '../arguments.ts'
import { isTurnlogError } from '../errors.ts'

// What the commands are called and take. What each does is in the files beside this one.

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }

const AT = 'as it was at a version, or a date such as 2026-11-22T10:00 (local time, unless it ends with Z or +01:00)'

const program = new Command('turnlog')
  .description('Conversation history of AI agents: import, look at, fork, rewind, export.')
  .version(version)
  .addOption(
    new Option(
      '-s, --store <url>',
      'where the sessions are: sqlite:PATH, postgres://…, nats://… (or memory:, which is empty)'
    ).env('TURNLOG_STORE')
  )
  .exitOverride()
  .configureOutput({
    // One line, with what may have been meant.
    outputError: (text, write) =>
      write(
        `turnlog: ${visibleLine(
          withoutCredentials(text)
            .replace(/^error: /, '')
            .trim()
            .replaceAll('\n', ' ')
        )}\n`
      )
  })
  .configureHelp({ showGlobalOptions: true })
  .helpCommand(false)
  .addHelpText(
    'after',
    `${examples('import runs.jsonl --user ada', 'sessions ada', 'show ada runs-1', 'export ada -o ada.jsonl')}

An id that begins with - stands after --, as in turnlog show -- -ada runs-1; of an option, as in --as=-try.
Exit codes: 0; 1 where it could not be done, or not all of it; 2 where it was asked wrongly; 130 after Ctrl-C (0 of log --follow, which ends so).
Colours on a terminal, unless NO_COLOR is set, or always if FORCE_COLOR is.`
  )

command('import <files...>', 'store conversations in OpenAI format, or what was exported; - is the standard input')
  .option('-u, --user <id>', `of whom they are (default: "${IMPORT_USER}", or as exported)`)
  .option('--session <id>', 'what the only session of the file is called')
  .option('--skip-invalid', 'take what is sound, and say which lines were left')
  .option('--skip-existing', 'leave conversations whose sessions exist')
  .addHelpText(
    'after',
    `${examples('import runs.jsonl --user ada', 'import ada.jsonl', 'import - --user ada < runs.jsonl')}

A line of conversations is { "messages": […], … } or a list of messages. A session is called as the line's session_id or id says;
else after the file and the line: runs-1, runs-2, … of runs.jsonl. A file that is one conversation over several lines, or a .json
of one, is called after the file alone. A line that is not sound: nothing of its file is stored. The exit code is 1 where
--skip-invalid has left a line.`
  )
  .action((files: string[], options: ImportOptions, self: Command) =>
    run(self, (context) => allDone(importFiles(context, files, options)), { makes: true })
  )

command('export [user] [session]', 'write a session, those of a user, or all, as JSON lines')
  .option('-o, --output <file>', 'to a file, whole or not at all; - is the standard output')
  .option('--force', 'replace the file')
  .addOption(
    new Option('--format <format>', 'events to import again, or chat messages')
      .choices(['turnlog', 'openai'])
      .default('turnlog')
  )
  .option('--deleted', 'deleted sessions, too; one that is named is written in any case')
  .option('--skip-damaged', 'of what is damaged the events before the damage, and all else; then the exit code is 1')
  .addHelpText(
    'after',
    `${examples('export -o all.jsonl', 'export ada -o ada.jsonl --force', 'export ada runs-1 --format openai', 'export --deleted --skip-damaged -o rescued.jsonl')}

As chat messages, lines are as they were imported: a session that was called after its file is called after the new file when it is
imported again. What was exported as events keeps its names.`
  )
  .action((user: string | undefined, session: string | undefined, options: ExportOptions, self: Command) =>
    run(self, (context) => allDone(exportSessions(context, user, session, options)))
  )

command('users', 'list who has sessions')
  .addHelpText('after', examples('users', 'users --json'))
  .action((options: object, self: Command) => run(self, (context) => users(context, options)))

command('sessions <user>', 'list the sessions of a user, newest activity first')
  .option('-n, --limit <count>', 'only so many', countOf)
  .addHelpText('after', examples('sessions ada --limit 10'))
  .action((user: string, options: object, self: Command) => run(self, (context) => sessions(context, user, options)))

command('show <user> <session>', 'show a session as a conversation')
  .option('--at <version>', AT)
  .option('--last <count>', 'only the newest messages', countOf)
  .addHelpText('after', examples('show ada runs-1', 'show ada runs-1 --at 5', 'show ada runs-1 --at 2026-11-22T10:00'))
  .action((user: string, session: string, options: object, self: Command) =>
    run(self, (context) => show(context, user, session, options))
  )

command('log <user> <session>', 'show the events of a session')
  .option('--from <version>', 'from a version on', countOf)
  .option('--to <version>', 'up to a version', countOf)
  .option('-f, --follow', 'go on as events come, until Ctrl-C')
  .addHelpText('after', examples('log ada runs-1', 'log ada runs-1 --follow --json'))
  .action((user: string, session: string, options: object, self: Command) =>
    run(self, (context) => log(context, user, session, options))
  )

command(
  'diff <user> <a> <b>',
  'compare two sessions of a user, or two versions: SESSION, SESSION@VERSION or SESSION@DATE'
)
  .addHelpText(
    'after',
    examples('diff ada runs-1@5 runs-1', 'diff ada runs-1@2026-11-22T10:00 runs-1', 'diff ada runs-1 other-try')
  )
  .action((user: string, a: string, b: string, options: object, self: Command) =>
    run(self, (context) => compare(context, user, a, b, options))
  )

command('fork <user> <session>', 'begin a new session with what this one has')
  .option('--at <version>', AT)
  .option('--as <id>', 'what the new one is called')
  .addHelpText('after', examples('fork ada runs-1 --at 5 --as other-try'))
  .action((user: string, session: string, options: object, self: Command) =>
    run(self, (context) => fork(context, user, session, options))
  )

command('rewind <user> <session> <version>', 'set a session back to a version; nothing is lost')
  .option('--reason <text>', 'noted in the log')
  .addHelpText('after', examples('rewind ada runs-1 5', 'undo ada runs-1'))
  .action((user: string, session: string, toVersion: string, options: object, self: Command) =>
    run(self, (context) => rewind(context, user, session, countOf(toVersion), options))
  )

for (const kind of ['undo', 'redo'] as const) {
  command(`${kind} <user> <session>`, kind === 'undo' ? 'go a step back' : 'take an undo back')
    .addHelpText(
      'after',
      examples(`${kind} ada runs-1`) +
        (kind === 'undo'
          ? '\n\nA step is what one call has stored, or one turn; an imported conversation is one as a whole, so that undo takes all of it.\nrewind goes to any version between.'
          : '')
    )
    .action((user: string, session: string, options: object, self: Command) =>
      run(self, (context) => step(context, kind, user, session, options))
    )
}

command('delete <user> [session]', 'hide a session, or all of a user; logs stay')
  .option('-y, --yes', 'all of a user without being asked')
  .addHelpText('after', examples('delete ada runs-1', 'delete ada --yes'))
  .action((user: string, session: string | undefined, options: object, self: Command) =>
    run(self, (context) => allDone(remove(context, user, session, options)))
  )

command('purge <user> [session]', 'erase a session for good, or all of a user, deleted ones, too')
  .option('-y, --yes', 'without being asked')
  .addHelpText('after', examples('purge ada runs-1 --yes', 'purge ada --yes'))
  .action((user: string, session: string | undefined, options: object, self: Command) =>
    run(self, (context) => purge(context, user, session, options))
  )

command('copy <from> <to> [user]', 'copy all sessions, or those of a user, from one store to another')
  .option('--no-verify', 'do not read back and compare what was copied')
  .addHelpText(
    'after',
    `${examples('copy sqlite:sessions.db sqlite:backup.db', 'copy sqlite:sessions.db postgres://localhost/app', 'copy nats://localhost sqlite:ada.db ada')}

FROM and TO are addresses as --store has them: sqlite:PATH, postgres://…, nats://…. Logs come out as they are: events with their ids, versions and times, deleted
sessions, what forks refer to. Killed at any moment, the same command goes on where it was; what has been written to FROM since
the time before is added. A session that is another in TO is told of and left alone; then the exit code is 1.`
  )
  .action(
    (
      from: string,
      to: string,
      user: string | undefined,
      options: { readonly verify: boolean; readonly json?: boolean }
    ) => allDone(copy(from, to, user, options))
  )

command('verify [user]', 'read everything and tell what is damaged')
  .addHelpText('after', examples('verify', 'verify ada --json'))
  .action((user: string | undefined, options: object, self: Command) =>
    run(self, (context) => allDone(verify(context, user, options)))
  )

command('stats', 'count what there is')
  .addHelpText('after', examples('stats --json'))
  .action((options: object, self: Command) => run(self, (context) => stats(context, options)))

program
  .command('inspect [store]')
  .description('look at the sessions on a web page: scrub through them, compare, follow')
  .option('-p, --port <port>', 'where it listens (default: any that is free)', countOf)
  .option(
    '--host <host>',
    'who may reach it: other machines, too, with 0.0.0.0 and --token (default: only this machine)'
  )
  .option('--token <token>', 'what the link has, 16 to 512 characters; or set TURNLOG_TOKEN (default: a random one)')
  .option('--allow-host <name...>', 'other names of this machine that browsers may ask for')
  .option('--allow-edit', 'fork, rewind, undo, redo, delete and change metadata from the page')
  .addHelpText(
    'after',
    `${examples('inspect sqlite:sessions.db', 'inspect postgres://localhost/app --port 4000', 'inspect sqlite:sessions.db --allow-edit')}

It prints a link with a token: who has that can read the whole store. Ends with Ctrl-C.`
  )
  .action(async (store: string | undefined, options: InspectOptions, self: Command) => {
    // Its server is not loaded by the other commands.
    const { inspect } = await import('./inspect.ts')
    await inspect(store ?? storeOf(self), options)
  })

program
  .command('help [command]')
  .description('show this, or how a command is used')
  .action((name: string | undefined) => {
    const of = name === undefined ? program : program.commands.find((each) => each.name() === name)
    if (!of) return program.error(`unknown command '${name}'`)
    of.outputHelp()
  })

function command(usage: string, description: string): Command {
  return program.command(usage).description(description).option('--json', 'for programs')
}

function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  turnlog ${line}`).join('\n')}`
}

function run(
  self: Command,
  work: (context: Context) => Promise<void>,
  options?: { readonly makes?: boolean }
): Promise<void> {
  return withHistory(storeOf(self), work, options)
}

// What was left out is told of, and in the exit code.
async function allDone(work: Promise<boolean>): Promise<void> {
  if (!(await work)) process.exitCode = 1
}

function storeOf(self: Command): string | undefined {
  return self.optsWithGlobals<{ store?: string }>().store
}

/** Does what the arguments ask for, and sets the exit code. */
export async function turnlog(args: readonly string[]): Promise<void> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(fail(error)))
  // Then there is nobody to tell.
  process.stderr.on('error', () => undefined)
  try {
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    const code = fail(error)
    // What was interrupted may still be waited for by what it has begun.
    if (code > 2) process.exit(code)
    process.exitCode = code
  }
}

/** Says what is wrong, and gives the exit code: 1 where it could not be done, 2 where it was asked wrongly. */
function fail(error: unknown): number {
  const interrupted = error instanceof Interrupted ? error : interruptionOf()
  if (interrupted) {
    say('turnlog: interrupted')
    return interrupted.exitCode
  }
  // Commander has said it already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  // Whoever reads has enough, as with `| head`.
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') return 0
  const message = visibleLine(withoutCredentials(error instanceof Error ? error.message : String(error)))
  say(`turnlog: ${isTurnlogError(error) ? `${error.code}: ` : ''}${message}`)
  return error instanceof UsageError || error instanceof TypeError ? 2 : 1
}
