"""The tests' GitHub with pages that a browser shows: the question, and the device's code.

As in "Authorizing OAuth apps" at docs.github.com: whoever is signed in is asked whether the
app may read what it asks for, and types a device's code at /login/device.
"""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl

from githubserver import Answer, Asked, Github

PAGE = (
    "<!DOCTYPE html><title>GitHub</title><h1>{title}</h1><p>{text}</p><form {form}>{fields}</form>"
)
BUTTONS = """
<button name="authorize" value="1" id="yes">Authorize</button>
<button name="authorize" value="0" id="no">Cancel</button>
"""
HTML = {"Content-Type": "text/html; charset=utf-8"}


class GithubWithPages(Github):
    """Asks before it sends anybody back."""

    def _answer(self, asked: Asked) -> Answer:
        if asked.path == "/login/device":
            return self._device_page(asked)
        return super()._answer(asked)

    def _authorize(self, asked: Asked) -> Answer:
        answer = asked.query.pop("authorize", "")
        if not answer:
            hidden = "".join(
                f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">'
                for k, v in asked.query.items()
            )
            text = f"awsgate wants {asked.query['scope']} of {self.signed_in}"
            return page("Authorize awsgate", text, 'action="/login/oauth/authorize"', hidden)
        self.declines = answer == "0"
        return super()._authorize(asked)

    def _device_page(self, asked: Asked) -> Answer:
        form = dict(parse_qsl(asked.body.decode()))
        if asked.method == "POST":
            self.type_code(form["user_code"], self.signed_in, decline=form["authorize"] == "0")
            return page("Congratulations, you're all set!", "", "", "", buttons="")
        field = '<input name="user_code" id="code">'
        return page("Device activation", "Enter the code", 'method="post"', field)


def page(title: str, text: str, form: str, fields: str, *, buttons: str = BUTTONS) -> Answer:
    body = PAGE.format(title=title, text=escape(text), form=form, fields=fields + buttons)
    return Answer(200, body.encode(), dict(HTML))
