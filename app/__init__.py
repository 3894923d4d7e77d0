"""The app: one page a room.  `streamlit run app/main.py` from the repository root.

`main` is the table of rooms, `frame` what every room shares, `logic/` one file a room of cached engine calls on
plain numbers, `views/` one file a room of widgets and words.  No arithmetic lives here: numbers come from `lora_np`,
pictures from `lora_np.figures`.
"""
