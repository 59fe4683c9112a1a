import { ConfigError } from '../model/errors.ts';

/**
 * Expands `%h` and `${NAME}` in a value of ssh_config(5).
 *
 * @param tokens letter → text
 * @throws ConfigError for a token that is not among them, or a variable that is not set
 */
export function expandTokens(
  text: string,
  where: string,
  tokens: Readonly<Record<string, string>>,
): string {
  const fail = (problem: string): never => {
    const known = Object.keys(tokens).map((letter) => `%${letter}`);
    throw new ConfigError(where, problem, `one of %%, ${known.join(', ')}, or the text itself`);
  };
  return text.replace(/%(.?)|\$\{([^}]*)\}/g, (whole, letter?: string, variable?: string) => {
    if (letter === '%') return '%';
    if (letter !== undefined) return tokens[letter] ?? fail(`\`${whole}\` is not supported`);
    return process.env[variable ?? ''] ?? fail(`the variable ${variable} is not set`);
  });
}
