import { stringify } from 'yaml';

/** A comment of the fleet file. What comes from a host must not end it. */
export const comment = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it must not contain.
  `# ${text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?')}`;

/** A key with its value, as YAML. */
export const entry = (key: string, value: string | number): string =>
  stringify({ [key]: value }, { lineWidth: 0 }).trimEnd();
