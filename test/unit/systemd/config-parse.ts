/**
 * What systemd reads from a file, told apart from our own reader: `config_parse()`, `parse_line()`
 * and `read_line()` of systemd 252 in their own order, one character at a time. For tests only.
 */
export interface SystemdReading {
  readonly assignments: readonly (readonly [section: string | null, key: string, value: string])[];
  /** Whether it gave up, at a section header. */
  readonly gaveUp: boolean;
}

export function readAsSystemd(text: string): SystemdReading {
  const assignments: (readonly [string | null, string, string])[] = [];
  let section: string | null = null;
  let continuation: string | null = null;
  let markSeen = false;

  const strip = (line: string): string => line.replace(/^[ \t\n\r]+|[ \t\n\r]+$/g, '');

  /** False: systemd reads no further. */
  const parseLine = (written: string): boolean => {
    const line = strip(written);
    if (line === '') return true;
    if (line.startsWith('[')) {
      const name = line.slice(1, -1);
      const isSafe = Array.from(name).every((char) => char >= ' ' && !`"'\\\x7f`.includes(char));
      if (!line.endsWith(']') || line.length < 2 || !isSafe) return false;
      section = name;
      return true;
    }
    const equals = line.indexOf('=');
    if (equals > 0) {
      assignments.push([section, strip(line.slice(0, equals)), strip(line.slice(equals + 1))]);
    }
    return true;
  };

  for (const physical of physicalLines(text)) {
    if (/^[ \t\n\r]*[#;]/.test(physical)) continue;
    let line = physical;
    if (!markSeen && line.startsWith('\uFEFF')) {
      line = line.slice(1);
      markSeen = true;
    }
    const whole: string = (continuation ?? '') + line;
    let escaped = false;
    for (const char of whole) escaped = !escaped && char === '\\';
    if (escaped) {
      continuation = `${whole.slice(0, -1)} `;
      continue;
    }
    continuation = null;
    if (!parseLine(whole)) return { assignments, gaveUp: true };
  }
  const done = continuation === null || parseLine(continuation);
  return { assignments, gaveUp: !done };
}

/** A line ends before a character that is no line end, or is the second of its kind, or after NUL. */
function physicalLines(text: string): readonly string[] {
  const lines: string[] = [];
  let line = '';
  let ended = '';
  for (const char of text) {
    const isEnd = char === '\n' || char === '\r' || char === '\0';
    if (ended !== '' && (!isEnd || ended.includes(char) || ended.includes('\0'))) {
      lines.push(line);
      line = '';
      ended = '';
    }
    if (isEnd) ended += char;
    else line += char;
  }
  if (line !== '' || ended !== '') lines.push(line);
  return lines;
}
