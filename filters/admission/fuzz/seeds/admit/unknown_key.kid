GET
/rtsp
websocket



{"alg":"ES256","kid":"../k"}
{"iss":"i","aud":["b","a"],"sub":"s","exp":1800000600,"p":["v","n"],"t":"t"}