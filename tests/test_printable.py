"""What may be shown and kept: no password or token of an address, no character that a terminal obeys, no markup."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from rich.table import Table
from rich.text import Text

from pipeline.params import load_params
from pipeline.params.code import code_of_stages
from pipeline.runtime import printable, progress
from pipeline.runtime.console import Console
from pipeline.runtime.definition import read_yaml
from pipeline.runtime.errors import InputError, first_reason
from tests.tracked_project import environment

# A text, and the text that may be shown.
HIDDEN = {
    "https://alice:s3cret@host/file": "https://***@host/file",
    "at http://alice@host:5000.": "at http://***@host:5000.",
    "postgresql+psycopg2://alice:s3cret@db/mlflow?sslpassword=s3cret;": "postgresql+psycopg2://***@db/mlflow?***;",
    "(https://host/a.zip?X-Amz-Signature=s3cret&b=1), then": "(https://host/a.zip?***), then",
    "'https://host/a?token=s3cret#part'": "'https://host/a?***'",
    "s3://s3cret:s3cret@bucket/key": "s3://***@bucket/key",
    "ssh://git@host/s3.git": "ssh://***@host/s3.git",
    "http://alice:p@s3cret@host/x": "http://***@host/x",
    "http://alice:s3/cret@host/x": "http://***@host/x",
    "http://alice:s3?cret@host/x": "http://***@host/x",
    "http://alice:s3#cret@host/x": "http://***@host/x",
    "http://[::1]:80/?s3cret": "http://[::1]:80/?***",
    "proxy //alice:s3cret@host:3128": "proxy //***@host:3128",
    "Invalid URL 'alice:s3cret@host/x': No scheme": "Invalid URL '***@host/x': No scheme",
    "Max retries exceeded with url: /a?token=s3cret (Caused by X)": "Max retries exceeded with url: /a?*** (Caused by X)",
    '["https://a/b?s3cret", "https://alice:s3cret@c"]': '["https://a/b?***", "https://***@c"]',
    "connection broken by 'X()': /a?token=s3cret": "connection broken by 'X()': /a?***",
    'http://a:80 "GET /b?s3cret HTTP/1.1" 200': 'http://a:80 "GET /b?*** HTTP/1.1" 200',
}
# Texts that stay as they are.
HARMLESS = (
    "https://host:443/path@v1/file",
    "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning",
    "train@yolo: expected data/a?b=1/x.png; received: 1//2",
    "ERROR: failed to reproduce 'dvc.yaml:train@yolo'",
    "fractions? no: [x] 50% ü 画像 \N{ZERO WIDTH NON-JOINER}",
    "sqlite:////tmp/a%3Fb/mlflow.db",
    "two\tlines\n",
)
OBEYED = "\x1b[31m \x07\x08\r\x9b31m \u202e\u2066\ufeff\x7f\x00 \udcff"
ESCAPED = r"\x1b[31m \x07\x08\r\x9b31m \u202e\u2066\ufeff\x7f\x00 \udcff"


@pytest.mark.parametrize("text", HIDDEN)
def test_an_address_loses_its_user_part_and_its_query(text):
    """Written by hand for each form; and what is hidden stays as it is when it is hidden again."""
    assert printable.without_secrets(text) == HIDDEN[text]
    assert printable.without_secrets(HIDDEN[text]) == HIDDEN[text]


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_stays(text):
    """Paths, stages, links of the UI, any script."""
    assert printable.printable(text) == text


def test_characters_that_a_terminal_obeys_are_written_as_escapes():
    """C0 and C1 controls, marks of direction, halves of characters."""
    assert printable.printable(OBEYED) == ESCAPED
    assert all(character.isprintable() for character in printable.printable("".join(map(chr, range(0x0B, 0x20)))))


def test_an_input_error_is_one_clean_line():
    """Whatever it quotes, also where it is not printed but raised."""
    error = InputError(f"received: https://a:s3cret@b?s3cret {OBEYED}\nError: forged")
    assert str(error) == rf"received: https://***@b?*** {ESCAPED}\nError: forged"


@pytest.mark.parametrize("query", ["?token=s3cret", "/path?s3cret"])
def test_exceptions_of_libraries_are_hidden(query):
    """What requests and urllib3 really say when nobody answers, and when the address is wrong."""
    texts = []
    for address in (
        f"http://alice:s3cret@127.0.0.1:9{query}",
        f"http://alice:s3cret@[nohost{query}",
        f"alice:s3cret@h{query}",
    ):
        with pytest.raises((requests.RequestException, ValueError)) as caught:
            requests.get(address, timeout=5)
        texts += [str(caught.value), first_reason(caught.value)]
    assert any("s3cret" in text for text in texts)
    assert "s3cret" not in "".join(map(printable.printable, texts))


def test_all_ways_to_the_terminal_are_clean(capsys):
    """print, a message with style, a table, a progress bar."""
    bad = f"https://alice:s3cret@host [x] [/bold] {OBEYED}"
    with printable.streams():
        print(bad)
        Console().print(bad, style="bold")
        table = Table(title=bad)
        table.add_column(bad, no_wrap=True)
        table.add_row(bad)
        table.add_row(Text(bad))
        Console(soft_wrap=True).print(table, width=300)
        with progress.bar(bad, 1, unit="steps") as bar:
            bar.update(1, bad)
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert not set(OBEYED) - {" "} & set(re.sub(r"[0-9m[]", "", text))
        assert "[x] [/bold]" in text
    assert "s3cret" not in captured.err
    assert captured.out.count("s3cret") == 1, "of a ready-made text, only the control characters are known"


def test_a_terminal_keeps_its_colours_and_an_ascii_one_its_text(monkeypatch):
    """Colours are made after the text is clean; what a terminal cannot show is escaped, not a traceback."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    with printable.streams():
        print("ü\x1b")
        Console().print("bold", style="bold")
    assert terminal.buffer.getvalue() == b"\\xfc\\x1b\n\x1b[1mbold\x1b[0m\n"


def test_warnings_and_the_traceback_of_a_bug_are_clean():
    """Python prints them itself, the traceback after the command has ended."""
    code = """
import logging, warnings
from pipeline.runtime import printable
with printable.streams():
    warnings.warn('http://w:s3cret@b \\x1b[31m')
    logging.warning('http://l:s3cret@b \\x1b[31m')
    raise RuntimeError('http://a:s3cret@b \\x1b[31m')
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment({}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert r"RuntimeError: http://***@b \x1b[31m" in done.stderr
    assert done.stderr.count(r"http://***@b \x1b[31m") == 3
    assert "\x1b" not in done.stderr
    assert "Traceback" in done.stderr


def test_a_password_in_params_is_in_no_file_for_dvc(project):
    """`check` writes the addresses of sources without it; another password makes nothing stale."""
    files = "files: [{name: a.tgz, sha256: '" + "0" * 64 + "', urls: ['https://alice:s3cret@host/a.tgz?token=s3cret']}]"
    entry = "  photos: {kind: image_folder, folders: [a], splits: {train: ., val: .2, test: .2}, " + files + "}\n"
    project.edit("  signals: {kind", entry + "  signals: {kind")
    texts = code_of_stages(load_params(), read_yaml(project.params))
    assert '["https://***@host/a.tgz?***"]' in texts["download@photos"]
    assert "s3cret" not in "".join(texts.values())
    project.edit("s3cret", "another")
    assert code_of_stages(load_params(), read_yaml(project.params)) == texts


@pytest.mark.usefixtures("tracked_project")
def test_a_command_hides_the_password_of_a_tracking_server():
    """In MLFLOW_TRACKING_URI, on the terminal and in every file that the command leaves."""
    address = "http://alice:s3cret@127.0.0.1:9?token=s3cret"
    command = [sys.executable, "-m", "pipeline.cli", "log", "small"]
    done = subprocess.run(
        command, env=environment({"MLFLOW_TRACKING_URI": address}), capture_output=True, text=True, check=False
    )
    assert "http://***@127.0.0.1" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert not [file for file in Path().rglob("*") if file.is_file() and b"s3cret" in file.read_bytes()]
