/** A directive of an ssh_config file. */
export interface Directive {
  /** In lower case. */
  readonly keyword: string;
  readonly words: readonly string[];
  /** `/home/nika/.ssh/config:12`. */
  readonly where: string;
}

/** The directives of a file, in order; a line that cannot be read has no words. */
export function parseSshConfig(text: string, file: string): readonly Directive[] {
  return text.split(/\r\n|\n|\r/).flatMap((line, index): Directive[] => {
    const content = line.replace(/^\uFEFF/, '').trim();
    if (content === '' || content.startsWith('#')) return [];
    const [, keyword = '', rest = ''] = /^([^\s="]+)(?:\s*=\s*|\s+|$)(.*)$/s.exec(content) ?? [];
    const where = `${file}:${index + 1}`;
    return [{ keyword: keyword.toLowerCase(), words: splitWords(rest), where }];
  });
}

/** As OpenSSH splits them: quotes of both kinds, `\` before a quote or itself, a comment after a space. */
function splitWords(text: string): readonly string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote = '';
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at] ?? '';
    const next = text[at + 1] ?? '';
    if (sign === '\\' && (next === '"' || next === "'" || next === '\\')) {
      word = (word ?? '') + next;
      at += 1;
    } else if (sign === '\\' && next === ' ' && quote === '') {
      word = `${word ?? ''} `;
      at += 1;
    } else if (quote !== '') {
      if (sign === quote) quote = '';
      else word = (word ?? '') + sign;
    } else if (sign === '"' || sign === "'") {
      quote = sign;
      word ??= '';
    } else if (sign === ' ' || sign === '\t') {
      if (word !== null) words.push(word);
      word = null;
    } else if (sign === '#' && word === null) {
      break;
    } else {
      word = (word ?? '') + sign;
    }
  }
  // A quote that is not closed: ssh refuses the line.
  if (quote !== '') return [];
  return word === null ? words : [...words, word];
}
