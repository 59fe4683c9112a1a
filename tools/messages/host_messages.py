"""Prints, as JSON, the text of every error that the host program in host/ can raise.

A value that is only known on a host becomes a name in angle brackets. A message that a helper
puts together is followed to the callers of that helper; one that only repeats the text of another
error is left out, because that error is in the list itself.
"""

import ast
import itertools
import json
import os
import re
import sys
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "host")
FOLDERS = ("celeriac_host", "support")
MOST_VARIANTS = 24
DEPTH = 5

#: Ends of a process, not messages.
# Nobody is told of an `Unavailable`: systemctl is asked instead.
SILENT = ("SystemExit", "KeyboardInterrupt", "Unavailable")
BUILTIN = ("OSError", "ValueError", "RuntimeError")

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Place(NamedTuple):
    """Where an expression stands: names in it mean what they mean there."""

    module: "Module"
    function: Optional[ast.FunctionDef]


class Module:
    """A source file with the tables that resolving a name needs."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.tree = ast.parse(text)
        self.parents: Dict[ast.AST, ast.AST] = {}
        for node in ast.walk(self.tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node

    def function_of(self, node: ast.AST) -> Optional[ast.FunctionDef]:
        """The innermost function around a node."""
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.FunctionDef):
                return node
        return None


class Sources:
    """All modules, with the calls and functions by name."""

    def __init__(self, modules: List[Module]) -> None:
        self.modules = modules
        self.calls: Dict[str, List[Tuple[Module, ast.Call]]] = {}
        self.functions: Dict[str, List[Tuple[Module, ast.FunctionDef]]] = {}
        self.bases: Dict[str, Set[str]] = {}
        self.classes: Dict[str, ast.ClassDef] = {}
        for module in modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call):
                    self.calls.setdefault(name_of(node.func), []).append((module, node))
                elif isinstance(node, ast.FunctionDef):
                    self.functions.setdefault(node.name, []).append((module, node))
                elif isinstance(node, ast.ClassDef):
                    self.bases[node.name] = {name_of(base) for base in node.bases}
                    self.classes[node.name] = node

    def errors(self) -> Set[str]:
        """The classes of exceptions that host/ defines."""
        found: Set[str] = set()
        roots = {"Exception", "BaseException", "OSError", "ValueError"}
        while True:
            more = {name for name, bases in self.bases.items() if bases & (roots | found)}
            if more <= found:
                return found
            found |= more

    def argument(self, call: ast.Call, function: ast.FunctionDef, name: str) -> Optional[ast.expr]:
        """What a call passes for a parameter; None for its default."""
        for keyword in call.keywords:
            if keyword.arg == name:
                return keyword.value
        names = [each.arg for each in function.args.args]
        if names and names[0] in ("self", "cls"):
            names = names[1:]
        position = names.index(name) if name in names else len(call.args)
        return call.args[position] if position < len(call.args) else None


def name_of(node: ast.AST) -> str:
    """The last name of `a.b.c`, of a call, and of a subscript."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("join", "strip", "format"):
            inside = node.args[0] if node.args else node.func.value
            return name_of(inside)
        return name_of(node.args[0]) if node.args else name_of(node.func)
    if isinstance(node, ast.Subscript):
        index = getattr(node.slice, "value", node.slice)
        index = getattr(index, "value", index)
        return index if isinstance(index, str) else name_of(node.value)
    if isinstance(node, (ast.GeneratorExp, ast.ListComp)):
        return name_of(node.generators[0].iter)
    if isinstance(node, ast.Starred):
        return name_of(node.value)
    if isinstance(node, ast.IfExp):
        return name_of(node.body)
    if isinstance(node, ast.BinOp):
        return name_of(node.left)
    if isinstance(node, ast.BoolOp):
        return name_of(node.values[0])
    return ""


def hole(node: ast.AST) -> str:
    """The placeholder of an expression: `<unit>`."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name_of(node)).replace("_", " ").strip().lower()
    name = {"strerror": "reason", "error": "reason", "said": "reason", "ident": "id"}.get(
        name, name
    )
    return "<%s>" % (name if re.fullmatch(r"[a-z][a-z ]*", name) else "…")


def is_sentence(text: str) -> bool:
    """Whether a text says something outside its placeholders."""
    fixed = re.sub(r"<[^>]*>", "", text)
    return re.search(r"[A-Za-z]{2,} ", fixed) is not None or (" " in text and len(fixed) > 4)


def is_phrase(text: str) -> bool:
    """Whether a text is a part of a sentence, not a word, a path or a query of SQL."""
    fixed = re.sub(r"<[^>]*>", "", text)
    if "SELECT" in fixed:
        return False
    return re.search(r"[a-z]+[,;:]? [a-z]+|^: ", fixed) is not None or bool(
        re.match(r"[a-z]{2,} <", text)
    )


class Reader:
    """Evaluates expressions to the texts that they can have."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    def texts(self, node: Optional[ast.AST], place: Place, depth: int = DEPTH) -> List[str]:
        """Every text that an expression can have, with placeholders."""
        if node is None:
            return []
        if isinstance(node, ast.Constant):
            return [] if node.value is None else [str(node.value)]
        if isinstance(node, ast.JoinedStr):
            return self.joined(
                [
                    self.inserted(part.value, place, depth)
                    if isinstance(part, ast.FormattedValue)
                    else self.texts(part, place, depth)
                    for part in node.values
                ]
            )
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self.joined(
                [self.texts(node.left, place, depth), self.texts(node.right, place, depth)]
            )
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            return self.formatted(node, place, depth)
        if isinstance(node, ast.IfExp):
            return unique(
                self.texts(node.body, place, depth) + self.texts(node.orelse, place, depth)
            )
        if isinstance(node, ast.BoolOp):
            return unique([text for each in node.values for text in self.texts(each, place, depth)])
        if isinstance(node, ast.Name):
            return self.named(node, place, depth)
        if isinstance(node, ast.Attribute):
            return self.constant(node.attr, None) or [hole(node)]
        if isinstance(node, ast.Call):
            return self.called(node, place, depth)
        return [hole(node)]

    def inserted(self, node: ast.AST, place: Place, depth: int) -> List[str]:
        """A value within a text: spelled out only where it is a phrase itself."""
        found = self.texts(node, place, depth - 2) if depth > 1 else []
        return found if any(is_phrase(text) for text in found) else [hole(node)]

    def joined(self, parts: List[List[str]]) -> List[str]:
        """All combinations, unless there are too many."""
        size = 1
        for part in parts:
            size *= max(1, len(part))
        if size > MOST_VARIANTS:
            parts = [part if len(part) == 1 else ["<…>"] for part in parts]
        return unique(
            ["".join(each) for each in itertools.product(*[part or [""] for part in parts])]
        )

    def formatted(self, node: ast.BinOp, place: Place, depth: int) -> List[str]:
        values = list(node.right.elts) if isinstance(node.right, ast.Tuple) else [node.right]
        found: List[str] = []
        for template in self.texts(node.left, place, depth):
            pieces = re.split(r"%(?:\.\d+)?[sdgrfi]", template)
            left = [*values, *[node.right] * len(pieces)]
            parts = [[pieces[0].replace("%%", "%")]]
            for piece, value in zip(pieces[1:], left):
                parts += [self.inserted(value, place, depth), [piece.replace("%%", "%")]]
            found += self.joined(parts)
        return unique(found)

    def named(self, node: ast.Name, place: Place, depth: int) -> List[str]:
        if depth <= 0:
            return [hole(node)]
        function = place.function
        while function is not None:
            values = assigned(function, node.id)
            if values:
                here = Place(place.module, function)
                found = [text for each in values for text in self.texts(each, here, depth - 1)]
                return unique(found) if any(map(is_phrase, found)) else [hole(node)]
            if node.id in [each.arg for each in function.args.args + function.args.kwonlyargs]:
                return self.passed(node, place.module, function, depth)
            function = place.module.function_of(function)
        return self.constant(node.id, place.module) or [hole(node)]

    def passed(
        self, node: ast.Name, module: Module, function: ast.FunctionDef, depth: int
    ) -> List[str]:
        """What the callers in the same file pass for a parameter."""
        found: List[str] = []
        name = function.name
        for home, call in self.sources.calls.get(name, []):
            if home is not module:
                continue
            given = self.sources.argument(call, function, node.id)
            place = Place(module, module.function_of(call))
            if place.function is not function:
                found += self.texts(given, place, depth - 1)
        sentences = [text for text in found if is_phrase(text)]
        return unique(sentences) or [hole(node)]

    def constant(self, name: str, module: Optional[Module]) -> List[str]:
        """The text of a constant of a module."""
        if not re.fullmatch(r"_?[A-Z][A-Z0-9_]*", name):
            return []
        for each in [module] if module else self.sources.modules:
            for node in each.tree.body:
                if isinstance(node, ast.Assign) and any(name_of(to) == name for to in node.targets):
                    found = self.texts(node.value, Place(each, None), 1)
                    return found if any(map(is_phrase, found)) else []
        return [] if module is None else self.constant(name, None)

    def called(self, node: ast.Call, place: Place, depth: int) -> List[str]:
        """The texts that a function of host/ returns."""
        name = name_of(node.func)
        if depth > 0 and name == "str" and node.args:
            return self.texts(node.args[0], place, depth - 1)
        if depth <= 0 or not isinstance(node.func, (ast.Name, ast.Attribute)):
            return [hole(node)]
        found: List[str] = []
        known = self.sources.functions.get(name, [])
        here = [each for each in known if each[0] is place.module]
        for module, function in here or (known if len(known) == 1 else []):
            if name_of(function.returns or node) != "str":
                continue
            for each in ast.walk(function):
                if isinstance(each, ast.Return) and each.value is not None:
                    found += self.texts(each.value, Place(module, function), depth - 2)
        sentences = [text for text in found if is_phrase(text)]
        return unique(sentences) or [hole(node)]


def assigned(function: ast.FunctionDef, name: str) -> List[ast.expr]:
    """What is assigned to a local name."""
    found: List[ast.expr] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id == name:
                    found.append(node.value)
        elif (
            isinstance(node, ast.AnnAssign)
            and node.value is not None
            and name_of(node.target) == name
        ):
            found.append(node.value)
    return found


def unique(texts: Iterable[str]) -> List[str]:
    """Without repetition, in order."""
    return list(dict.fromkeys(texts))


ERRORS: Set[str] = set()


def read_modules(root: str) -> Iterator[Module]:
    """The Python files of host/ without its tests."""
    for folder in FOLDERS:
        for where, folders, files in os.walk(os.path.join(root, folder)):
            folders.sort()
            for name in sorted(files):
                if name.endswith(".py"):
                    path = os.path.join(where, name)
                    with open(path, encoding="utf-8") as file:
                        yield Module("host/" + os.path.relpath(path, root), file.read())


def message_argument(call: ast.Call, sources: Sources) -> Optional[ast.expr]:
    """The argument that holds the text: the one that the class calls message, problem or so."""
    name = name_of(call.func)
    while name in sources.classes:
        for node in sources.classes[name].body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                for wanted in ("message", "problem", "why", "reason"):
                    if wanted in [each.arg for each in node.args.args]:
                        return sources.argument(call, node, wanted)
        bases = sources.bases[name] & set(sources.classes)
        if not bases:
            break
        name = sorted(bases)[0]
    texts = [each for each in call.args if not isinstance(each, ast.Starred)]
    return texts[-1] if texts else None


def tidy(text: str) -> str:
    """One line; placeholders that follow each other are one."""
    return re.sub(r"\s+", " ", text).strip(" :;,.")


def messages(sources: Sources) -> Iterator[Dict[str, str]]:
    """Each text once for each file."""
    ERRORS.update(sources.errors())
    reader = Reader(sources)
    seen: Set[Tuple[str, str]] = set()
    for module in sources.modules:
        raised = {id(node.exc) for node in ast.walk(module.tree) if isinstance(node, ast.Raise)}
        for node in ast.walk(module.tree):
            place = Place(module, module.function_of(node))
            if isinstance(node, ast.Dict):
                told, fix = entry(node, "problem"), reader.texts(entry(node, "fix"), place)
                texts = [text for text in reader.texts(told, place) if is_phrase(text)]
            elif isinstance(node, ast.Call) and is_error(node, raised):
                fix = []
                texts = [
                    text
                    for text in reader.texts(message_argument(node, sources), place)
                    if is_sentence(text)
                ]
            else:
                continue
            for text in map(tidy, texts):
                if (module.path, text) not in seen:
                    seen.add((module.path, text))
                    next_step = tidy(fix[0]) if len(fix) == 1 and is_phrase(fix[0]) else ""
                    yield {"file": module.path, "text": text, "next": next_step}


def is_error(call: ast.Call, raised: Set[int]) -> bool:
    """Whether a call makes an error of host/, or raises one of Python's."""
    name = name_of(call.func)
    return name not in SILENT and (name in ERRORS or (name in BUILTIN and id(call) in raised))


def entry(node: ast.Dict, wanted: str) -> Optional[ast.expr]:
    """The value of a key in a literal dictionary."""
    for key, value in zip(node.keys, node.values):
        if isinstance(key, ast.Constant) and key.value == wanted:
            return value
    return None


def main() -> None:
    """Prints the list for host/, or for another folder."""
    sources = Sources(list(read_modules(sys.argv[1] if len(sys.argv) > 1 else ROOT)))
    json.dump(list(messages(sources)), sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
