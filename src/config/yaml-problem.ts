import type { YAMLParseError } from 'yaml';

/**
 * What is wrong with YAML, without quoting it: the parser's own messages repeat parts of the text,
 * which may be part of a password.
 */
export const describeYamlError = ({ code }: Pick<YAMLParseError, 'code'>): string =>
  `invalid YAML: ${problems[code]}`;

const problems: Readonly<Record<YAMLParseError['code'], string>> = {
  ALIAS_PROPS: 'an alias (`*name`) cannot have an anchor or a tag',
  BAD_ALIAS: 'an alias (`*name`) does not name an earlier anchor; put a value with `*` in quotes',
  BAD_COLLECTION_TYPE: 'a tag does not fit its value',
  BAD_DIRECTIVE: 'a line that begins with `%` is not a directive',
  BAD_DQ_ESCAPE: 'a `\\` in double quotes begins no valid escape; use single quotes',
  BAD_INDENT: 'the indentation is wrong',
  BAD_PROP_ORDER: 'an anchor or a tag is out of place',
  BAD_SCALAR_START: 'a value begins with a special character; put it in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a second `:` on one line; put a value with `: ` in quotes',
  BLOCK_IN_FLOW: 'a block is inside `[ ]` or `{ }`',
  DUPLICATE_KEY: 'a key is there twice; keys must be unique',
  IMPOSSIBLE: 'it cannot be read',
  KEY_OVER_1024_CHARS: 'a key is longer than 1024 characters',
  MISSING_CHAR: 'a bracket, quote, comma, colon or space is missing',
  MULTILINE_IMPLICIT_KEY: 'a key spans several lines',
  MULTIPLE_ANCHORS: 'a value has several anchors',
  MULTIPLE_DOCS: 'there are several documents (`---`)',
  MULTIPLE_TAGS: 'a value has several tags',
  NON_STRING_KEY: 'a key is not a string',
  RESOURCE_EXHAUSTION: 'it is nested too deeply',
  TAB_AS_INDENT: 'tabs cannot indent',
  TAG_RESOLVE_FAILED: 'a tag (`!name`) is unknown; put a value with `!` in quotes',
  UNEXPECTED_TOKEN: 'something is out of place; put values with special characters in quotes',
};
