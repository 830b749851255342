"""pseudoword inspect | convert | list | create: files of words; review, doctor: pictures; draw, compare: words learned.

Modules that need torch are imported by the command that needs them, so that `--help` answers at once.
"""

import argparse
import difflib
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from pseudoword.errors import UserError, is_of_the_machine, message_of
from pseudoword.formats.keys import Key
from pseudoword.terminal import print_error, printable

OUT = "by its extension: .safetensors, .pt (A1111), .bin (diffusers) or .png"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 1, with one message on stderr, for what the user can mend."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser, commands = _parser()
    _refuse_unknown_command(parser, commands, arguments)
    options = parser.parse_args(arguments)
    try:
        status: bool | None = options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # `pseudoword list DIR | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        if not is_of_the_machine(error):
            raise
        print_error(message_of(error))
        return error.exit_code if isinstance(error, UserError) else 1
    return 1 if status is False else 0


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser, and the commands that it knows."""
    parser = argparse.ArgumentParser(
        prog="pseudoword",
        description="Say where a project stands, look its pictures over and review its captions; look at embedding "
        "files, convert and make them.",
    )
    parser.add_argument("--version", action="version", version=f"pseudoword {version('pseudoword')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_check(commands.add_parser("check", help="whether params.yaml can be run"))
    _add_status(commands.add_parser("status", help="what is up to date, what will run, what the last choice was"))
    _add_inspect(commands.add_parser("inspect", help="what a file holds"))
    _add_convert(commands.add_parser("convert", help="write a word or a hypernetwork in another format"))
    _add_list(commands.add_parser("list", help="which files of a folder are for a base model"))
    _add_create(
        commands.add_parser("create", help="start a word from words that the base model knows, or a hypernetwork")
    )
    _add_draw(commands.add_parser("draw", help="prompts of your own over checkpoints and models, as one sheet"))
    _add_review(commands.add_parser("review", help="read, edit and approve the captions on a local web page"))
    _add_doctor(commands.add_parser("doctor", help="what speaks against your pictures, before anything was run"))
    _add_compare(commands.add_parser("compare", help="what differs between runs and experiments, and what it did"))
    _add_vote(commands.add_parser("vote", help="what your blind votes on the page of compare say"))
    return parser, list(commands.choices)


def _refuse_unknown_command(parser: argparse.ArgumentParser, commands: Sequence[str], arguments: Sequence[str]) -> None:
    """Answer with the nearest command, where argparse would list them all."""
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    if command is not None and command not in commands:
        near = difflib.get_close_matches(command, commands, 1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        parser.error(f"no command '{printable(command)}'{hint} There are: {', '.join(commands)}")


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.description = "Refuse what cannot work in params.yaml, as the stage check does, in a second."
    parser.set_defaults(command=_check)


def _add_status(parser: argparse.ArgumentParser) -> None:
    parser.description = "In ten lines: what is up to date, what `dvc repro` would run and why, and the last choice."
    parser.set_defaults(command=_status)


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Of a word its name, vectors, norms, the nearest words of the vocabulary, and where it comes from; of a "
        "hypernetwork its widths and layers."
    )
    parser.set_defaults(command=_inspect)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    _add_json(parser)
    _add_base(parser, "; without it models/toyworld where it fits")


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.description = "Read a word of any format, or a hypernetwork, and write it in another."
    parser.set_defaults(command=partial(_convert, parser))
    parser.add_argument("files", type=Path, nargs="+", metavar="IN")
    parser.add_argument("out", type=Path, metavar="OUT", help=f"{OUT}; a folder for several files, with --to")
    parser.add_argument("--to", metavar="EXTENSION", help="the format of several files, such as .pt")
    parser.add_argument("--picture", type=Path, help="what a .png shows; without it a plain card")
    parser.add_argument("--word", help="which word of a file that holds several")
    parser.add_argument("--name", help="what the word is called from now on")
    parser.add_argument(
        "--key", choices=get_args(Key), default="word",
        help="of the tensor in a .safetensors or .bin: the word, emb_params for InvokeAI, emp_params for OneTrainer",
    )  # fmt: skip
    _add_base(parser, ", to tell whether it knows NAME as a word")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.description = "Every embedding and hypernetwork file of a folder: loaded, or skipped and why."
    parser.set_defaults(command=_list)
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR")
    _add_json(parser)
    _add_base(parser, "; words of another width are skipped")


def _add_create(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write an untrained word that starts at the embeddings of a text, or a hypernetwork."
    parser.set_defaults(command=partial(_create, parser))
    parser.add_argument("name")
    parser.add_argument("out", type=Path, metavar="OUT", help=OUT)
    parser.add_argument("--vectors", type=_vectors, metavar="N", help="of a word, 1 to 75")
    parser.add_argument("--init-text", metavar="TEXT", help="of a word; empty for zeros")
    parser.add_argument(
        "--hypernetwork", nargs="?", const="1, 2, 1", metavar="LAYERS",
        help="a hypernetwork in place of a word; factors of the width, by default 1, 2, 1",
    )  # fmt: skip
    parser.add_argument("--activation", default="linear", help="of a hypernetwork; default %(default)s")
    parser.add_argument("--layer-norm", action="store_true", help="after each of its linear layers")
    parser.add_argument("--dropout", default="", metavar="SHARES", help="while it is trained, such as 0, 0.05, 0")
    parser.add_argument("--initialisation", default="Normal", help="Xavier or Kaiming, Uniform or Normal; or Normal")
    parser.add_argument("--seed", type=_seed, default=0, help="of its first numbers; default %(default)s")
    _add_base(parser, "", required=True)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")


def _add_draw(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draw prompts with the word of the project in this folder, the same noise in each row, into a PNG and a page. "
        "Size, sampler, steps and guidance are those of train.preview. Nothing of the pipeline runs again for it."
    )
    parser.set_defaults(command=_draw)
    parser.add_argument("prompts", nargs="*", metavar="PROMPT", help="with [name] for the word")
    parser.add_argument(
        "--checkpoints",
        type=_steps,
        metavar="STEPS",
        help="such as 20,60,300; default: the chosen one, else the last",
    )
    parser.add_argument("--run", metavar="RUN", help="of a sweep; without it that of the choice")
    parser.add_argument(
        "--base", type=_model, action="append", default=[], metavar="MODEL",
        help="another base model beside the project's: folder, checkpoint file or hub id; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--with", dest="beside", type=Path, action="append", default=[], metavar="EMBEDDING",
        help="a file whose word prompts may hold too, by its name; may be repeated",
    )  # fmt: skip
    parser.add_argument("--negative", default="", metavar="TEXT", help="what pictures should not show")
    parser.add_argument("--captions", action="store_true", help="also each training caption, beside its picture")
    parser.add_argument("--seeds", type=_seeds, default=1, metavar="N", help="rows of each prompt; default %(default)s")
    parser.add_argument("--out", type=_png, metavar="FILE", help="a .png; without it a name in outputs/drawn")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE, and the page beside it, if it is there")


def _add_review(parser: argparse.ArgumentParser) -> None:
    parser.description = "A local web page of the pictures and their captions; run it in the project's folder."
    parser.set_defaults(command=_review)
    parser.add_argument("--port", type=int, default=8642, help="0 takes any free one; default %(default)s")
    parser.add_argument(
        "--host", default="127.0.0.1", help="another address than this machine's own opens it to others"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Check the pictures of data.folder in params.yaml and the texts beside them as they are now, whatever was run. "
        "The exit status is 1 where the stage doctor would stop the pipeline."
    )
    parser.set_defaults(command=_doctor)
    parser.add_argument("--data", type=Path, metavar="DIR", help="another folder")
    _add_json(parser)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Put runs and experiments on one page: what differs, what it did, how sure that is, how to bring each back. "
        "The workspace stays as it is. Without names: the runs of what lies in this folder."
    )
    parser.set_defaults(command=_compare)
    parser.add_argument("names", nargs="*", metavar="NAME", help="folder, git revision or DVC experiment")
    parser.add_argument("--all", action="store_true", help="every DVC experiment of this repository")
    parser.add_argument(
        "--judge-again", action="store_true", help="measure the pictures of all by the judges in params.yaml"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: .scratch/comparison")
    _add_json(parser)


def _add_vote(parser: argparse.ArgumentParser) -> None:
    parser.description = "How often blind votes agree with the scores, and the order that they give."
    parser.set_defaults(command=_vote)
    parser.add_argument("file", type=Path, metavar="votes.csv", help="what the page of compare saved")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs; see docs/cli.md")


def _add_base(parser: argparse.ArgumentParser, more: str, required: bool = False) -> None:
    wanted = f"folder, checkpoint file or hub id{more}"
    parser.add_argument("--base", type=_model, required=required, metavar="MODEL", help=wanted)
    parser.add_argument("--config", metavar="MODEL", help="for a file: folder or hub id with configs and tokenizers")


def _model(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty text is no model")
    return text


def _vectors(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 75:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 75")
    return int(text)


def _steps(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of steps such as 20,60,300")
    return list(dict.fromkeys(map(int, parts)))


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"'{printable(text)}' is not a whole number from 0 to 2^63 - 1")
    return int(text)


def _seeds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 64")
    return int(text)


def _png(text: str) -> Path:
    if Path(text).suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of a .png")
    return Path(text)


def _check(_: argparse.Namespace) -> None:
    from app.standing import check

    check()


def _status(_: argparse.Namespace) -> None:
    from app.standing import status

    status()


def _inspect(options: argparse.Namespace) -> bool:
    from app.embeddings import inspect

    return inspect(options.files, options.base, options.config, options.json)


def _convert(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    from app.embeddings import convert, convert_all

    if options.to is None:
        if len(options.files) > 1:
            parser.error("several files become files of a folder: give the folder last, and --to, such as --to .pt")
        convert(
            options.files[0], options.out, options.picture, options.word, options.name, options.base, options.config,
            options.overwrite, options.key,
        )  # fmt: skip
    else:
        for_one = ("picture", "word", "name", "base", "config")
        if given := [f"--{name}" for name in for_one if getattr(options, name) is not None]:
            parser.error(f"{' and '.join(given)} cannot be used with --to")
        convert_all(options.files, options.out, options.to, options.overwrite, options.key)


def _list(options: argparse.Namespace) -> None:
    from app.embeddings import list_folders

    list_folders(options.folders, options.base, options.config, options.json)


def _create(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    from app.embeddings import create, create_hypernetwork

    missing = [options.vectors, options.init_text].count(None)
    if missing != (0 if options.hypernetwork is None else 2):
        parser.error("give --vectors and --init-text for a word, or --hypernetwork alone")
    if options.hypernetwork is not None:
        create_hypernetwork(
            options.name, options.out, options.hypernetwork, options.activation, options.layer_norm, options.dropout,
            options.initialisation, options.seed, options.base, options.config, options.overwrite,
        )  # fmt: skip
        return
    create(
        options.name, options.out, options.vectors, options.init_text, options.base, options.config, options.overwrite
    )


def _draw(options: argparse.Namespace) -> None:
    from app.drawing import draw

    draw(
        options.prompts, options.checkpoints, options.run, options.base, options.beside, options.negative,
        options.captions, options.seeds, options.out, options.overwrite,
    )  # fmt: skip


def _review(options: argparse.Namespace) -> None:
    from app.project import review

    review(options.host, options.port, not options.no_browser)


def _doctor(options: argparse.Namespace) -> None:
    from app.project import doctor

    doctor(options.data, options.json)


def _compare(options: argparse.Namespace) -> None:
    from app.compare.command import compare_all

    compare_all(options.names, options.all, options.judge_again, options.out, options.json)


def _vote(options: argparse.Namespace) -> None:
    from app.compare.command import vote

    vote(options.file)
