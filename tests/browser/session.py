"""A session without a browser: the messages that Streamlit's page and server exchange over their socket.

Twenty Chromiums would measure Chromium.  This speaks the same protocol with the library's own message types, and
keeps what a page must keep: nothing.
"""

from contextlib import ExitStack

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

PATIENCE_SECONDS = 240
LARGEST_MESSAGE = 2**25


class Session:
    """One visitor's connection."""

    def __init__(self, address: str) -> None:
        where = address.replace("http", "ws", 1) + "/_stcore/stream"
        self.open_until = ExitStack()
        self.socket = self.open_until.enter_context(
            connect(where, subprotocols=["streamlit"], max_size=LARGEST_MESSAGE)
        )

    def open(self, path: str, query: str = "") -> bool:
        """Ask for a room; tell whether it was drawn to its end, with pictures and without an error."""
        asked = BackMsg()
        asked.rerun_script.query_string = query
        asked.rerun_script.page_name = path
        self.socket.send(asked.SerializeToString())
        pictures = 0
        while True:
            said = ForwardMsg()
            said.ParseFromString(self.socket.recv(timeout=PATIENCE_SECONDS))
            kind = said.WhichOneof("type")
            if kind == "script_finished":
                return pictures > 0
            if kind == "delta" and said.delta.HasField("new_element"):
                shown = said.delta.new_element.WhichOneof("type")
                if shown == "exception":
                    return False
                pictures += shown == "plotly_chart"

    def close(self) -> None:
        """Leave."""
        self.open_until.close()
