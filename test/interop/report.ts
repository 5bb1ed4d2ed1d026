import { AUTHENTICATIONS } from './authentications.ts';
import { ALL_SUITES, suitesName, usualAuthentication } from './cells.ts';
import { DAEMONS, type DaemonName } from './daemons/daemon.ts';
import { FEATURES } from './features.ts';
import { fingerprint, ownFirstMessage } from './first-message.ts';
import type { CellReport } from './run-cell.ts';

const ROLES = ['initiator', 'responder'] as const;

/** The matrix of a run of every cell, in Markdown, for docs/interop.md. @param date - of the run, ISO 8601 */
export function matrix(reports: readonly CellReport[], date: string): string {
  const found = new Map(reports.map((report) => [report.id, report]));
  const notes = new Map<string, number>();
  const mark = (id: string) => {
    const report = found.get(id);
    if (report === undefined) return '';
    if (!report.ok) return '**fails**';
    if (report.lack === undefined) return 'yes';
    const text = `"${report.lack}": ${report.because}`;
    if (!notes.has(text)) notes.set(text, notes.size + 1);
    return `no (${notes.get(text)})`;
  };
  const table = (title: string, rows: readonly (readonly [string, string])[]) => [
    `| ${title} | ${DAEMONS.map((daemon) => `${daemon}<br>we initiate | we respond`).join(' | ')} |`,
    `| --- |${' --- |'.repeat(DAEMONS.length * ROLES.length)}`,
    ...rows.map(([name, label]) => {
      const cells = DAEMONS.flatMap((daemon) => ROLES.map((role) => mark(`${daemon} ${role}: ${name}`)));
      return `| ${label} | ${cells.join(' | ')} |`;
    }),
    '',
  ];
  const features = Object.entries(FEATURES).filter(([name]) => name !== 'plain');
  const tables = [
    ...table(
      'feature',
      features.map(([name, { source }]) => [name, `${name} (${source})`]),
    ),
    ...table(
      'authentication: initiator, responder',
      Object.keys(AUTHENTICATIONS).map((name) => [name, name]),
    ),
    ...table(
      'suite: IKE / ESP',
      ALL_SUITES.map((suites) => [suitesName(suites), `\`${suitesName(suites)}\``]),
    ),
  ];
  const versions = DAEMONS.map(
    (name) => reports.find(({ daemon }) => daemon === name)?.version ?? `no ${name}`,
  );
  const passed = reports.filter(({ ok, lack }) => ok && lack === undefined).length;
  const failed = reports.filter(({ ok }) => !ok);
  return [
    `Run on ${date.slice(0, 10)} against ${versions.join(', ')}: ${passed} cells passed, ${failed.length} failed.`,
    '',
    ...tables,
    'What an initiator says first, with the suite and the authentication that telescopes use:',
    '',
    `* ike-telescope after the first hop: \`${fingerprint(ownFirstMessage())}\``,
    ...DAEMONS.map((name) => `* ${name}: \`${firstMessageOf(name, reports)}\``),
    '',
    'What they say that cannot do something:',
    '',
    ...[...notes].map(([text, number]) => `${number}. ${text}`),
    ...failed.map(({ id, error }) => `* **${id}**: ${error?.split('\n')[0]}`),
    '',
  ].join('\n');
}

function firstMessageOf(name: DaemonName, reports: readonly CellReport[]): string {
  const usual = `${name} responder: ${usualAuthentication(name)}`;
  return reports.find(({ id }) => id === usual)?.firstMessage ?? 'nothing';
}
