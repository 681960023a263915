GET
/rtsp
upgrade: websocket

{"typ":"JWT","alg":"ES256","kid":"../k"}
{"iss":"i","r":{"e":"yes"},"iat":1800000000,"aud":["b","a"],"sub":"s","exp":1800000600,"p":["v","n"],"t":"t"}