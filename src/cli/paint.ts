const reset = '\u001b[0m';
const colours = {
  red: '\u001b[31m',
  green: '\u001b[32m',
  yellow: '\u001b[33m',
  cyan: '\u001b[36m',
} as const;

type Colour = keyof typeof colours;

/** The first rule that matches colours what it matched. */
const rules: readonly (readonly [RegExp, Colour])[] = [
  // A diff below its operation.
  [/^ {7}\+.*$/, 'green'],
  [/^ {7}-.*$/, 'red'],
  [/^ {7}@@.*$/, 'cyan'],
  [/^\s*warning:/, 'yellow'],
  [/^\s*error:/, 'red'],
  [/^\s*notice:/, 'cyan'],
  [/^\s*- \[x\]/, 'green'],
  [/^\s*- \[ \]/, 'red'],
  [/^(?:✓|Healthy)/, 'green'],
  [/^(?:✗|Not healthy)/, 'red'],
  [/^(?:[!?](?= )|Inconclusive)/, 'yellow'],
  [/^(?:next|to roll it back|commit|settings|unit):/, 'cyan'],
];

/** The same text with colours, for a terminal. It must not control the terminal by itself. */
export const paint = (text: string): string => text.split('\n').map(paintLine).join('\n');

function paintLine(line: string): string {
  for (const [pattern, colour] of rules) {
    if (pattern.test(line)) {
      return line.replace(pattern, (found) => `${colours[colour]}${found}${reset}`);
    }
  }
  return line;
}

/** Whether a stream shows colours: it is a terminal, and nobody has said no (no-color.org). */
export const showsColour = (
  { isTTY }: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): boolean => isTTY === true && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb';
