"""What earlier releases have written, which this one still has to read."""

INSTRUCTIONS = """\
<h4>Correct what the model proposes</h4>
<b>1.</b> Move and resize the proposed boxes until they fit tightly, with all of the object inside.<br>
<b>2.</b> Delete boxes that are wrong; change the label of those that are misnamed.<br>
<b>3.</b> Draw what was missed: press the label's number, then drag.<br>
<b>4.</b> <b>Submit</b>, also when nothing is left to mark: an image without boxes teaches the model, too.<br>
<br>
<b>Skip</b> only images that cannot be judged: nothing is learnt from them. The next image is the one that the
model is least sure of.
"""
