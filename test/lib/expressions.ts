import { type Expr, Lexer, Parser } from '@actions/expressions';
import { ContextAccess, IndexAccess, Literal } from '@actions/expressions/ast';
import { wellKnownFunctions } from '@actions/expressions/funcs';

/** `steps.gate.outputs.healthy` as words. */
export type Path = readonly string[];

/** Every context that the expressions in a part of a workflow read. */
export function listReferences(node: unknown): readonly Path[] {
  return listExpressions(node, '').flatMap((text) => {
    const contexts = ['github', 'env', 'vars', 'secrets', 'inputs', 'needs', 'steps', 'job'];
    const more = ['runner', 'strategy', 'matrix', 'jobs'];
    const status = ['success', 'always', 'cancelled', 'failure', 'hashFiles'].map((name) => ({
      name,
      minArgs: 0,
      maxArgs: 255,
    }));
    const { tokens } = new Lexer(text).lex();
    return collectPaths(
      new Parser(
        tokens,
        [...contexts, ...more],
        [...Object.values(wellKnownFunctions), ...status],
      ).parse(),
    );
  });
}

/** What stands between `${{` and `}}`, and a whole `if:`. */
function listExpressions(node: unknown, key: string): readonly string[] {
  if (typeof node === 'string') {
    const marked = [...node.matchAll(/\$\{\{(.*?)\}\}/gs)].map(([, text = '']) => text);
    return key === 'if' && marked.length === 0 ? [node] : marked;
  }
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([name, value]) => listExpressions(value, name));
}

function collectPaths(expression: Expr): Path[] {
  const path = readPath(expression);
  if (path !== null) return [path];
  const parts: unknown[] = Object.values(expression).flat();
  return parts.flatMap((part) => (isExpression(part) ? collectPaths(part) : []));
}

const isExpression = (part: unknown): part is Expr =>
  typeof part === 'object' && part !== null && 'accept' in part;

function readPath(expression: Expr): Path | null {
  if (expression instanceof ContextAccess) return [expression.name.lexeme];
  if (!(expression instanceof IndexAccess)) return null;
  const head = readPath(expression.expr);
  const { index } = expression;
  return head !== null && index instanceof Literal ? [...head, index.literal.coerceString()] : null;
}
