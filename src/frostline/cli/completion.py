"""`frostline completion`: what a shell needs to complete commands, options and choices."""

import argparse
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        names: As they are typed.
        about: What it does.
        choices: What may follow; empty for anything.
        takes_value: Whether anything follows.
    """

    names: tuple[str, ...]
    about: str
    choices: tuple[str, ...]
    takes_value: bool


@dataclass(frozen=True)
class Command:
    """A command, or an action of one.

    Attributes:
        name: As it is typed.
        about: What it does.
        options: Its options.
        actions: What may be typed behind it.
    """

    name: str
    about: str
    options: tuple[Option, ...]
    actions: "tuple[Command, ...]"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds what can be typed."""
    text = "print a script that lets a shell complete what is typed"
    parser = commands.add_parser(
        "completion",
        help=text,
        description=f"{text.capitalize()}.",
        epilog='bash: eval "$(frostline completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc, '
        "behind compinit; fish: frostline completion fish > "
        "~/.config/fish/completions/frostline.fish",
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(arguments: Namespace, parser: argparse.ArgumentParser) -> int:
    """Prints the script for all that a parser takes."""
    write = {"bash": bash, "zsh": zsh, "fish": fish}[arguments.shell]
    sys.stdout.write(write(described(parser)))
    return 0


def described(parser: argparse.ArgumentParser) -> Command:
    """Returns what can be typed, as plain values."""
    options, actions = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            actions = [described(below) for below in action.choices.values()]
        elif action.option_strings:
            choices = tuple(map(str, action.choices or ()))
            about = " ".join((action.help or "").replace("%%", "%").split())
            names = tuple(action.option_strings)
            options.append(Option(names, about, choices, action.nargs != 0))
    name = parser.prog.rpartition(" ")[2]
    about = (parser.description or "").partition("\n")[0].rstrip(".")
    return Command(name, about, tuple(options), tuple(actions))


def bash(root: Command) -> str:
    """Returns the script for bash: words and choices; file names where none fits."""
    cases = []
    for path, one in _walk(root):
        words = [*(below.name for below in one.actions), *_names(one)]
        cases.append(f"    {shlex.quote(path)}) words={shlex.quote(' '.join(words))} ;;")
    values = [
        f"    {shlex.quote(words)}) words={shlex.quote(choices)} ;;"
        for words, choices in _with_choices(root)
    ]
    return f"""\
_frostline() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
  local path=frostline words= word known='{_pattern(root)}'
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    [[ "$path $word" =~ $known ]] && path="$path $word"
  done
  case "$path $before" in
{chr(10).join(values)}
    *)
  case "$path" in
{chr(10).join(cases)}
  esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -o bashdefault -F _frostline frostline
"""


def zsh(root: Command) -> str:
    """Returns the script for zsh, with what each word means."""
    cases = []
    for path, one in _walk(root):
        told = [(below.name, below.about) for below in one.actions]
        told += [(option.names[-1], option.about) for option in one.options]
        words = " ".join(shlex.quote(f"{name}:{about}") for name, about in told)
        cases.append(f"    {shlex.quote(path)}) told=({words}) ;;")
    values = [
        f"    {shlex.quote(words)}) compadd -- {choices}; return ;;"
        for words, choices in _with_choices(root)
    ]
    return f"""\
_frostline() {{
  local path_=frostline word known='{_pattern(root)}'
  local -a told
  for word in "${{words[@]:1:CURRENT-2}}"; do
    [[ "$path_ $word" =~ $known ]] && path_="$path_ $word"
  done
  case "$path_ ${{words[CURRENT-1]}}" in
{chr(10).join(values)}
  esac
  case "$path_" in
{chr(10).join(cases)}
  esac
  _describe frostline told
  _files
}}
compdef _frostline frostline
"""


def fish(root: Command) -> str:
    """Returns the script for fish, with what each word means."""
    lines = []
    for path, one in _walk(root):
        above = path.split()[1:]
        seen = "; and ".join(f"__fish_seen_subcommand_from {name}" for name in above)
        when = seen or "__fish_use_subcommand"
        names = " ".join(below.name for below in one.actions)
        for below in one.actions:
            none = f"{when}; and not __fish_seen_subcommand_from {names}" if above else when
            lines.append(_fish_line(none, ["-a", below.name], below.about, files=False))
        for option in one.options:
            parts = []
            for name in option.names:
                parts += ["-l", name[2:]] if name.startswith("--") else ["-s", name[1:]]
            if option.choices:
                parts += ["-x", "-a", " ".join(option.choices)]
            elif option.takes_value:
                parts += ["-r"]
            lines.append(_fish_line(when, parts, option.about))
    return "\n".join(lines) + "\n"


def _fish_line(when: str, parts: list[str], about: str, files: bool = True) -> str:
    words = [*("complete", "-c", "frostline", "-n", when), *([] if files else ["-f"]), *parts]
    return " ".join(_fish_quoted(word) for word in [*words, "-d", about])


def _fish_quoted(word: str) -> str:
    if word.replace("-", "").isalnum():
        return word
    return "'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _with_choices(root: Command) -> Iterator[tuple[str, str]]:
    """Yields each option that has choices, after the words before it, and what may follow it."""
    for path, one in _walk(root):
        for option in one.options:
            if option.choices:
                yield from ((f"{path} {name}", " ".join(option.choices)) for name in option.names)


def _walk(one: Command, path: str = "") -> Iterator[tuple[str, Command]]:
    """Yields every command with the words that lead to it."""
    path = f"{path} {one.name}".strip()
    yield path, one
    for below in one.actions:
        yield from _walk(below, path)


def _names(one: Command) -> list[str]:
    return [name for option in one.options for name in option.names]


def _pattern(root: Command) -> str:
    """Returns the paths of all commands as an extended regular expression."""
    return f"^({'|'.join(path for path, _ in _walk(root) if path != root.name)})$"
