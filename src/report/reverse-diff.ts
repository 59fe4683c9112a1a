/** The diff of the way back. */
export function reverseDiff(diff: string): string {
  const lines = diff === '' ? [] : diff.split('\n');
  const reversed: string[] = [];
  let removed: string[] = [];
  let added: string[] = [];
  const flush = () => {
    reversed.push(...removed, ...added);
    [removed, added] = [[], []];
  };
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    const next = lines[at + 1] ?? '';
    const hunk = /^@@ -(\S+) \+(\S+) @@(.*)$/.exec(line);
    if (line.startsWith('--- ') && next.startsWith('+++ ') && isHunk(lines[at + 2])) {
      flush();
      reversed.push(`--- ${next.slice(4)}`, `+++ ${line.slice(4)}`);
      at += 1;
    } else if (hunk !== null) {
      flush();
      reversed.push(`@@ -${hunk[2]} +${hunk[1]} @@${hunk[3]}`);
    } else if (line.startsWith('+')) removed.push(`-${line.slice(1)}`);
    else if (line.startsWith('-')) added.push(`+${line.slice(1)}`);
    // Of the line before it.
    else if (line.startsWith('\\')) (lines[at - 1]?.startsWith('-') ? added : removed).push(line);
    else {
      flush();
      reversed.push(line);
    }
  }
  flush();
  return reversed.join('\n');
}

const isHunk = (line = ''): boolean => line.startsWith('@@ ');
